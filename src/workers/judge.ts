import type { Job } from "bullmq";
import { policyOf } from "../shared/error-policy.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { GlueError, JobCancelledError } from "../shared/errors.ts";
import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";
import { isWrongType, storedFault } from "../shared/stored-data.ts";
import { snoozesOf } from "../store/bullmq-internals.ts";
import { countFailure, jobPlace } from "../store/error-counts.ts";
import { FencedError, type JobJournal } from "../store/job-journal.ts";
import type { AbortReason } from "../store/job-loop.ts";
import { PUT_BACK_MS, putBackMs } from "../store/put-back.ts";
import { clockOf } from "../store/redis-clock.ts";
import { isKeyMissing } from "../store/sealing.ts";
import { countFailedCall } from "../store/usage.ts";
import { NotHereError } from "./can-run.ts";
import type { WorkerContext } from "./context.ts";
import { fallBack } from "./fallback.ts";
import { type Attempt, type LostCall, lastingFault, lostCalls, type ModelAttempt } from "./job-attempt.ts";
import { LaneWaitError } from "./lane-call.ts";
import { NotStartedError } from "./provider-call.ts";
import { ownRefusal } from "./refused-row.ts";
import { NoPlaceError } from "./slotless-places.ts";
import { type PaidCall, type Spent, spentOn } from "./spent.ts";
import { SuspendedError } from "./suspension.ts";
import { type AttemptState, type LimitedRow, type Verdict, verdictOn } from "./verdict.ts";

const MAX_PLACE_WAIT_MS = 30_000;
const MAX_LIMITED_MS = 30 * 60_000;
const MAX_LOST_CALLS = 100;

/** The verdict on what an attempt threw; undefined when the job goes on with its next model. */
export async function judge(
  attempt: Attempt,
  tried: ModelAttempt,
  thrown: unknown,
): Promise<Verdict | undefined> {
  const { context, signal, logger } = attempt;
  const { payload, model, journal } = tried;
  if (thrown instanceof FencedError) return { kind: "lost" };
  if (thrown instanceof NotStartedError || signal.aborted) return verdictOnAbort(attempt, journal);
  if (thrown instanceof LaneWaitError)
    return { kind: "putBack", delayMs: thrown.delayMs, reason: thrown.message };
  if (thrown instanceof NoPlaceError)
    return { kind: "putBack", delayMs: placeWaitMs(attempt), reason: thrown.message };
  if (thrown instanceof SuspendedError) return { kind: "suspended", pending: thrown.pending };
  if (thrown instanceof NotHereError)
    return { kind: "putBack", delayMs: putBackMs(), reason: thrown.message };
  if (isKeyMissing(thrown))
    return { kind: "putBack", delayMs: putBackMs(), reason: "a worker with the key of its encryption" };
  const given = isWrongType(thrown) ? storedFault(`what Redis has of job ${attempt.jobId}`, thrown) : thrown;
  const error = given instanceof GlueError ? given : unexpected(given, logger);
  if (tried.timing.lost) await keepLost(attempt, tried.timing.lost);
  const state = { ...stateOf(attempt, tried, error), limitedMs: await learnedWaitMs(context, tried, error) };
  const judged = verdictOn(error, state, context.settings.retry, clockOf(context.store).now());
  const verdict = withEvidence(judged, state, context, model.key);
  if (verdict.kind === "fail") {
    const calls = callsOf(attempt, journal);
    Object.assign(verdict, { calls, spent: spentBy(calls), asked: journal?.rewrittenInput });
    // Replayed, the same answers would fail the same way.
    if (policyOf(error).spoils === "answers") await journal?.append({ kind: "restarted" }).catch(() => {});
  }
  const isRepeated = verdict.kind === "snooze" || verdict.kind === "retry";
  await Promise.all([
    countFailedCall(context.store, {
      budgetKey: model.key,
      error,
      isRepeated,
      batchId: payload.batch?.id,
    }),
    countAttempt(attempt, tried, error),
  ]);
  return payload.fallbacks && journal
    ? fallBack(attempt, { model, payload, journal }, { error, verdict })
    : verdict;
}

/** For whoever asks what fails where: a call that failed, if one was made. */
async function countAttempt(
  { context, queue, jobId }: Attempt,
  { payload, model }: ModelAttempt,
  error: GlueError,
): Promise<void> {
  if (policyOf(error).counts === "nothing") return;
  const place = jobPlace(queue.name, model.key, payload);
  const { code, message } = error;
  await countFailure(context.store, "attempt", place, context.settings.retention, {
    code,
    example: { id: jobId, message },
  });
}

/** A row that was limited again and again has no call to wait for when one was answered meanwhile. */
function withEvidence(
  verdict: Verdict,
  { limited }: AttemptState,
  { answered }: WorkerContext,
  key: string,
): Verdict {
  if (verdict.kind !== "hold" || !limited || (answered.get(key) ?? 0) <= limited.firstAt) return verdict;
  return { kind: "fail", error: ownRefusal(verdict.error) };
}

/** The job's calls so far that brought an answer. */
function callsOf({ job }: Attempt, journal: JobJournal | undefined): PaidCall[] {
  return [...(journal?.allCalls ?? []), ...lostCalls(job)];
}

/** What they took; undefined when there are none. */
function spentBy(calls: readonly PaidCall[]): Spent | undefined {
  return calls.length > 0 ? spentOn(calls) : undefined;
}

/** Notes a paid call on the job, for the record that its end leaves. */
async function keepLost({ job, logger }: Attempt, lost: LostCall): Promise<void> {
  const calls = [...lostCalls(job), lost].slice(-MAX_LOST_CALLS);
  await job
    .updateProgress({ ...Object(job.progress), lost: calls })
    .catch((error: Error) => logger.warn({ fault: error.message }, "a paid call is not in the job's sums"));
}

function verdictOnAbort(attempt: Attempt, journal: JobJournal | undefined): Verdict {
  if ((attempt.signal.reason as AbortReason | undefined) === "cancelled") {
    const calls = callsOf(attempt, journal);
    return { kind: "fail", error: new JobCancelledError(), calls, spent: spentBy(calls) };
  }
  return { kind: "putBack", delayMs: 0, reason: "its worker stopped" };
}

/** The worker wakes it when there is a place; should that be lost, it looks for one by itself, ever more seldom. */
function placeWaitMs({ job }: Attempt): number {
  return Math.min(MAX_PLACE_WAIT_MS, PUT_BACK_MS * 2 ** Math.min(snoozesOf(job), 10));
}

/** Bugs and faults of Redis take the verdict's way too, so that a job that ends by them leaves its record. */
function unexpected(thrown: unknown, logger: Logger): GlueError {
  // Its message may quote what somebody sent or answered.
  const { name = typeof thrown, stack = "", message = "" } = thrown instanceof Error ? thrown : {};
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line));
  logFault(logger, name === "ReplyError" ? message : name, { frames }, "unexpected fault in an attempt");
  return new GlueError(toErrorRecord(thrown));
}

/** A provider that names no time when it refuses may state no limits either: then its refusals tell how much it bears. */
async function learnedWaitMs(
  { budgets }: WorkerContext,
  { model, timing }: ModelAttempt,
  error: GlueError,
): Promise<number | undefined> {
  const isOpen = policyOf(error).provider === "limited" && error.retryAfterMs === undefined;
  if (!isOpen || timing.sentAt === undefined) return undefined;
  // While Redis is away nothing is learned.
  return budgets.refused(model.key, timing.sentAt).catch(() => undefined);
}

function stateOf(
  { context, job }: Attempt,
  { payload, model, journal, timing }: ModelAttempt,
  error: GlueError,
): AttemptState {
  const { maxAttempts, deadlineAt, batch, lane } = payload;
  const attempt = job.attemptsMade - (journal?.attemptsMade ?? 0) + 1;
  return {
    attempt,
    maxAttempts,
    deadlineAt,
    laneUntil: lane?.until,
    isBatchRow: batch !== undefined,
    snoozes: snoozesOf(job),
    sentAt: timing.sentAt,
    lastingFault: attempt > 1 ? lastingFault(job) : undefined,
    limited:
      batch && policyOf(error).provider === "limited"
        ? limitedRow(context, job, model.key, error)
        : undefined,
    isOutage: context.breaker?.excuses(model.key) ?? false,
  };
}

/**
 * One more time that a row was limited. It says something of the row when another call was sent and answered since the
 * last time, or when the provider names no time: a limit of the account would name one, or would hit the others too. After
 * half an hour each time counts.
 */
function limitedRow(
  { answered }: WorkerContext,
  { progress }: Job,
  key: string,
  error: GlueError,
): LimitedRow {
  const now = Date.now();
  const { limited } = Object(progress) as { limited?: LimitedRow };
  if (!limited) return { times: 1, firstAt: now, lastAt: now };
  const isItsOwn =
    error.retryAfterMs === undefined ||
    (answered.get(key) ?? 0) > limited.lastAt ||
    now - limited.firstAt > MAX_LIMITED_MS;
  return { ...limited, times: limited.times + (isItsOwn ? 1 : 0), lastAt: now };
}
