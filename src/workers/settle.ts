import { DelayedError, RateLimitError, UnrecoverableError } from "bullmq";
import { type PauseAsked, pauseModel } from "../limits/pause.ts";
import type { CompletionPayload, CompletionSummary } from "../shared/catalog.ts";
import { previewOfAnswer } from "../shared/chat.ts";
import { HIDDEN } from "../shared/encryption-setting.ts";
import { policyOf } from "../shared/error-policy.ts";
import { privatePartsOf, toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { logFault } from "../shared/fault-log.ts";
import { modelRef } from "../shared/model-name.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import { emptyRecord, type ResultRecord } from "../shared/records.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { stopBatch } from "../store/batch.ts";
import { isBlobRef } from "../store/blobs.ts";
import { countFailure } from "../store/error-counts.ts";
import { logAttempt } from "../store/job-log.ts";
import { RetryError } from "../store/job-loop.ts";
import { PAUSE_TEST_MS } from "../store/long-pause.ts";
import { announceJob } from "../store/outbox.ts";
import { toldText } from "../store/past-contents.ts";
import { againAfter, putBack } from "../store/put-back.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { Store } from "../store/store.ts";
import { type FailureReport, reportError } from "../telemetry/error-reports.ts";
import { traceIdOf } from "../telemetry/trace-context.ts";
import { type Attempt, keptProgress, noteFault, type Waiting } from "./job-attempt.ts";
import { recordOutcome } from "./record-outcome.ts";
import { holdRefused, REFUSED_MS, WAITS_FOR_EVIDENCE } from "./refused-row.ts";
import { suspend } from "./suspension.ts";
import { backoffMs, type LimitedRow, type Verdict } from "./verdict.ts";

export const HELD_MS = 30_000;

interface SentBack {
  delayMs: number;
  againAt?: number | undefined;
  reason: string;
  limited?: LimitedRow;
  waiting?: Waiting | undefined;
}

type VerdictOf<Kind extends Verdict["kind"]> = Extract<Verdict, { kind: Kind }>;

/** Makes the verdict happen. Returns only for a finished job. @param waiting what is noted of a job that goes back */
export async function settle(
  attempt: Attempt,
  payload: CompletionPayload | undefined,
  verdict: Verdict,
  waiting?: Waiting,
): Promise<CompletionSummary> {
  attempt.context.metrics?.attemptEnded(attempt.queue.name, verdict.kind);
  switch (verdict.kind) {
    case "done":
      await recordOutcome(attempt, payload, verdict.record, verdict);
      return summaryOf(verdict.record, attempt.context.store);
    case "retry":
      return retry(attempt, verdict, waiting);
    case "snooze":
      return snooze(attempt, verdict, waiting);
    case "putBack":
      return sendBack(attempt, { ...verdict, waiting });
    case "suspended":
      // Only a job that could be read has tools.
      return sendBack(attempt, {
        delayMs: 0,
        reason: await suspend(attempt, payload as CompletionPayload, verdict.pending),
      });
    case "lost":
      attempt.logger.warn("this worker no longer owns the job");
      throw new DelayedError();
    case "hold":
      return payload?.batch
        ? hold(attempt, payload, verdict)
        : fail(attempt, payload, { ...verdict, kind: "fail" });
    case "stopBatch":
      await stopBatch(attempt.context.store, payload?.batch?.id ?? "", toErrorRecord(verdict.error));
      return sendBack(attempt, { delayMs: HELD_MS, reason: `batch stopped: ${verdict.error.code}` });
    case "fail":
      return fail(attempt, payload, verdict);
  }
}

async function noteAttempt(
  { job, jobId, context: { store }, logger }: Attempt,
  error: GlueError,
  againMs: number,
): Promise<void> {
  const at = { attempt: job.attemptsMade + 1, againMs };
  await Promise.all([
    noteFault(job, store, error),
    logAttempt(store, { queue: job.queueName, id: jobId }, error, at),
  ]).catch((fault: Error) => logger.debug({ fault: fault.message }, "an attempt was not noted"));
}

async function retry(
  attempt: Attempt,
  { error, delayMs }: VerdictOf<"retry">,
  waiting: Waiting | undefined,
): Promise<never> {
  const { job, logger } = attempt;
  if (policyOf(error).fails === "second")
    await job.updateProgress({ ...keptProgress(job), failed: error.code, waiting });
  else if (waiting) await job.updateProgress({ ...Object(job.progress), waiting });
  const told = { fault: toErrorRecord(error), delayMs };
  await noteAttempt(attempt, error, delayMs);
  logFault(logger, error.code, told, "attempt failed; will retry", "warn");
  throw new RetryError(failureText(attempt, error), delayMs);
}

async function snooze(
  attempt: Attempt,
  verdict: VerdictOf<"snooze">,
  waiting: Waiting | undefined,
): Promise<never> {
  const { scope, delayMs, error, limited } = verdict;
  // Of what was sent; a wait for a budget or the cache is no attempt.
  const wasSent = policyOf(error).counts !== "nothing";
  if (wasSent) await noteAttempt(attempt, error, delayMs);
  if (scope === "job") {
    const againAt = wasSent ? againAfter(attempt.context.store, delayMs) : undefined;
    return sendBack(attempt, { delayMs, againAt, reason: `${error.code}: ${error.message}`, waiting });
  }
  await pause(attempt, { scope, delayMs, reason: `${error.code}: ${error.message}` });
  // Every second of an outage has one of the breaker's, every minute of a long pause one of each worker's.
  const level = wasSent ? "info" : "debug";
  attempt.logger[level]({ fault: error.code, delayMs }, "the queue waits for the provider");
  // BullMQ puts it first in its queue, where a row that is limited each time would keep all others from their calls.
  if (limited && limited.times > 1) {
    const ownMs = backoffMs(limited.times, attempt.context.settings.retry);
    return sendBack(attempt, {
      // Its queue waits for the rest, and a long pause is tested every minute, by this row too when none else is left.
      delayMs: Math.min(delayMs, PAUSE_TEST_MS) + ownMs,
      reason: `${error.code}: ${error.message}`,
      ...{ limited, waiting },
    });
  }
  const { job } = attempt;
  if (limited) await job.updateProgress({ ...keptProgress(job), limited, waiting });
  else if (waiting) await job.updateProgress({ ...Object(job.progress), waiting });
  throw new RateLimitError();
}

async function hold(
  attempt: Attempt,
  payload: CompletionPayload,
  { error, sentAt, refusedAt }: VerdictOf<"hold">,
): Promise<never> {
  const { context, jobId, logger } = attempt;
  const now = performance.now();
  const times = { sentAgoMs: now - sentAt, refusedAgoMs: now - refusedAt };
  const outcome = await untilTaken(logger, () =>
    holdRefused(context.store, jobId, payload, { error, ...times }),
  );
  logger.warn({ fault: toErrorRecord(error), outcome }, "the provider refused a row");
  return sendBack(
    attempt,
    outcome === "held"
      ? { delayMs: REFUSED_MS, reason: WAITS_FOR_EVIDENCE }
      : { delayMs: HELD_MS, reason: `batch stopped: ${error.code}` },
  );
}

async function fail(
  attempt: Attempt,
  payload: CompletionPayload | undefined,
  { error, pause: pauseAsked, models, spent, calls, asked }: VerdictOf<"fail">,
): Promise<never> {
  const { job, jobId, logger } = attempt;
  const attempts = job.attemptsMade + 1;
  const isCancelled = error.code === "cancelled";
  if (pauseAsked) await pause(attempt, pauseAsked);
  if (isCancelled) logger.info("job cancelled");
  else logger.warn({ fault: toErrorRecord(error), attempts }, "job failed");
  if (!isCancelled) reportError(error, reportOf(attempt, payload, error), logger);
  if (payload) {
    const record = emptyRecord(jobId, payload, isCancelled ? "cancelled" : "failed", attempts);
    const fault = { error: { ...toErrorRecord(error), attempts }, ...privatePartsOf(error) };
    await recordOutcome(attempt, payload, { ...record, ...models, ...spent, ...fault }, { calls, asked });
  } else {
    const { store, settings } = attempt.context;
    const told = { id: jobId, queue: attempt.queue.name, errorCode: error.code, attempts };
    await untilTaken(logger, () => announceJob(store, told));
    const place = { model: undefined, queue: attempt.queue.name, tenant: DEFAULT_TENANT };
    const example = { id: jobId, message: error.message };
    await countFailure(store, "end", place, settings.retention, { code: error.code, example });
  }
  throw withoutStack(new UnrecoverableError(failureText(attempt, error)));
}

function reportOf(
  { job, jobId, queue }: Attempt,
  payload: CompletionPayload | undefined,
  { code }: GlueError,
): FailureReport {
  const { provider, model, batch, workflow, tenant } = payload ?? {};
  return {
    ...{ kind: "job", code, jobId, tenant, queue: queue.name, attempts: job.attemptsMade + 1 },
    ...{ provider: provider?.entry, batchId: batch?.id, runId: workflow?.runId },
    model: provider && modelRef(provider.entry, model ?? "").key,
    traceId: traceIdOf(payload ?? {}),
  };
}

async function pause({ context, queue }: Attempt, pauseAsked: PauseAsked): Promise<void> {
  const model = parseCompletionQueueName(queue.name);
  if (model) await pauseModel(context, model, pauseAsked);
}

function sendBack(attempt: Attempt, back: SentBack): Promise<never> {
  const { delayMs, reason } = back;
  attempt.logger.debug({ reason, delayMs }, "job put back");
  return putBack(attempt, back);
}

/** Bull Board shows stacks, and ours say nothing that the message does not. */
function withoutStack<T extends Error>(error: T): T {
  error.stack = error.message;
  return error;
}

function failureText({ job, context }: Attempt, error: GlueError): string {
  const request = error.providerRequestId ? ` [provider request ${error.providerRequestId}]` : "";
  // A provider's words may be those of the prompt, and BullMQ keeps this as it is.
  const message = toldText(context.store, error.message);
  return `${error.code} (attempt ${job.attemptsMade + 1}): ${message}${error.hint ? `; ${error.hint}` : ""}${request}`;
}

function summaryOf(record: ResultRecord, { sealing, redact }: Store): CompletionSummary {
  const body = record.response?.body;
  const shown = !body || isBlobRef(body) ? "(large result, kept apart)" : previewOfAnswer(body, redact);
  // BullMQ keeps it as it is.
  const text = sealing.isOn ? HIDDEN : shown;
  const { status, model, tokens, costUsd } = record;
  return { status, model, tokens, costUsd, text };
}
