import type { Job } from "bullmq";
import {
  type CompletionPayload,
  type CompletionSummary,
  hasSeveralCalls,
  jobCatalog,
} from "../shared/catalog.ts";
import { policyOf } from "../shared/error-policy.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { GlueError, JobCancelledError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { modelRef } from "../shared/model-name.ts";
import { fingerprint } from "../shared/providers.ts";
import { emptyRecord } from "../shared/records.ts";
import { openJobLedger } from "../store/cost-ledger.ts";
import { FencedError, JobJournal } from "../store/job-journal.ts";
import { countFailedCall, lookUp, type Standing } from "../store/result-record.ts";
import { NotStartedError } from "./attempt.ts";
import type { CostLimit } from "./call-costs.ts";
import { runCompletion } from "./completion-run.ts";
import type { WorkerContext } from "./context.ts";
import { WAITS_FOR_EARLIER, waitForTurn } from "./conversation.ts";
import { fallBack, presentTarget } from "./fallback.ts";
import { type AbortReason, HELD_MS, PUT_BACK_MS, type Run, settle } from "./settle.ts";
import { spentOn } from "./spent.ts";
import { deadlineError, type Verdict, verdictOn } from "./verdict.ts";

/** Workers lost while they ran this job before it counts as the cause; a stall is BullMQ's count of them. */
const MAX_LOST_WORKERS = 10;

/**
 * A job's whole path in the worker: parse again → bind the logger → look for the record → budget → provider →
 * record → verdict. Whatever it throws is one of BullMQ's own signals.
 */
export async function processJob(input: Omit<Run, "jobId" | "logger">): Promise<CompletionSummary> {
  const { context, queue, job } = input;
  const jobId = job.id ?? "";
  const logger = context.logger.child({ queue: queue.name, jobId, attempt: job.attemptsMade + 1 });
  const run: Run = { ...input, jobId, logger };

  const payload = jobCatalog.completion.input.safeParse(job.data);
  if (!payload.success) return settle(run, undefined, unreadable(job));
  const verdict = barred(run, payload.data) ?? (await decide(run, payload.data));
  return settle(run, payload.data, verdict);
}

/** Newer payloads wait for newer workers; what no version can read fails. */
function unreadable(job: Job): Verdict {
  const version = (job.data as { v?: unknown } | undefined)?.v;
  if (typeof version === "number" && version > jobCatalog.completion.version) {
    return {
      kind: "putBack",
      delayMs: PUT_BACK_MS,
      reason: `needs a worker that reads payload version ${version}`,
    };
  }
  return {
    kind: "fail",
    error: new GlueError({
      code: "invalid_payload",
      category: "input",
      message: "the job's data is not a completion request",
      hint: "enqueue through GlueLLM's producers",
    }),
  };
}

/** What this worker can tell without asking Redis. */
function barred({ context, job }: Run, payload: CompletionPayload): Verdict | undefined {
  // Which of several models it calls, its journal says.
  const lack = payload.fallbacks ? undefined : lackOf(context, payload.provider);
  if (lack) return lack;
  const lacking = (payload.tools ?? []).filter((name) => !context.tools.has(name));
  if (lacking.length > 0) {
    return { kind: "putBack", delayMs: PUT_BACK_MS, reason: `workers lack the tool ${lacking.join(", ")}` };
  }
  if (job.stalledCounter >= MAX_LOST_WORKERS) {
    return {
      kind: "fail",
      error: new GlueError({
        code: "worker_lost",
        category: "internal",
        message: `${job.stalledCounter} workers were lost while they ran this job`,
        hint: "look for what kills them (memory, a huge answer), then retry the job",
      }),
    };
  }
  return undefined;
}

/** An entry that this worker does not have as the producer has it, or lacks the key of. */
function lackOf(
  { settings }: WorkerContext,
  { entry, fingerprint: wanted }: CompletionPayload["provider"],
): Verdict | undefined {
  const own = settings.providers[entry];
  if (!own || fingerprint(own) !== wanted) {
    const reason = `provider entry "${entry}" is ${own ? "set up differently on" : "unknown to"} the workers`;
    return { kind: "putBack", delayMs: PUT_BACK_MS, reason };
  }
  if (own.apiKey || own.keyOptional) return undefined;
  return { kind: "putBack", delayMs: PUT_BACK_MS, reason: `workers lack ${own.keyVariable}` };
}

async function decide(run: Run, given: CompletionPayload): Promise<Verdict> {
  const { context, queue, job, jobId, token, logger, signal, beforeCall, controller } = run;
  const { store } = context;
  let payload = given;
  const { batch, conversation } = payload;
  let model = modelRef(payload.provider.entry, payload.model);
  const { attemptsMade, priority } = job;
  // Attempts that ended in a pause so far.
  const snoozes = Math.max(0, job.attemptsStarted - attemptsMade - 1);
  let journal: JobJournal | undefined;
  try {
    const standing = await lookUp(store, jobId, batch?.id);
    const settled = verdictOnStanding(standing, payload, jobId);
    if (settled) return settled;
    if (standing.kind === "clear" && standing.hasFailed) payload = await withNewDeadline(job, payload);
    const { deadlineAt } = payload;
    const delayMs = conversation && (await waitForTurn(context, jobId, conversation, snoozes));
    if (delayMs !== undefined) return { kind: "putBack", delayMs, reason: WAITS_FOR_EARLIER };
    const shared = { jobId, signal, logger };
    if (hasSeveralCalls(payload))
      journal = await JobJournal.open({ ...shared, store, queue: queue.name, token });
    if (Date.now() > deadlineAt) throw deadlineError();
    const hasBatchLimit = standing.kind === "clear" && standing.hasCostLimit;
    const costLimits = await openCostLimits(context, jobId, payload, hasBatchLimit);
    const isRouted = payload.fallbacks !== undefined;
    const target = presentTarget(payload, journal);
    const lack = isRouted ? lackOf(context, target.provider) : undefined;
    if (lack) return lack;
    model = modelRef(target.provider.entry, target.model);
    const limits = { deadlineAt, priority, costLimits, beforeCall, controller };
    const outcome = await runCompletion(context, {
      ...shared,
      ...limits,
      model,
      isRouted,
      payload,
      journal,
      attemptsMade,
    });
    return { kind: "done", ...outcome };
  } catch (error) {
    if (error instanceof FencedError) return { kind: "lost" };
    if (error instanceof NotStartedError || signal.aborted) return verdictOnAbort(signal, journal);
    const fault = error instanceof GlueError ? error : unexpected(error, logger);
    const state = {
      attempt: attemptsMade - (journal?.attemptsMade ?? 0) + 1,
      maxAttempts: payload.maxAttempts,
      deadlineAt: payload.deadlineAt,
      isBatchRow: batch !== undefined,
      snoozes,
      isBreakerOpen: context.breaker?.isOpen(model.key) ?? false,
    };
    const verdict = verdictOn(fault, state, context.settings.retry);
    if (verdict.kind === "fail" && journal) {
      verdict.spent = spentOn(journal.allCalls);
      // Replayed, the same answers would fail the same way.
      if (policyOf(fault).spoils === "answers") await journal.append({ kind: "restarted" }).catch(() => {});
    }
    await countFailedCall(store, {
      budgetKey: model.key,
      error,
      isRepeated: verdict.kind === "snooze" || verdict.kind === "retry",
      batchId: batch?.id,
    });
    if (!payload.fallbacks || !journal) return verdict;
    const hasWaitedForBudget = waitsFor(job).startsWith("budget_wait");
    const attempt = { payload, journal, attemptsMade, snoozes, hasWaitedForBudget };
    const failed = { ...attempt, error: fault, verdict, logger };
    return (await fallBack(context, failed)) ?? decide(run, payload);
  }
}

/** An operator's retry of a job whose time was over has that of a new job. */
async function withNewDeadline(job: Job, payload: CompletionPayload): Promise<CompletionPayload> {
  if (Date.now() <= payload.deadlineAt) return payload;
  const { interactive, batch } = jobCatalog.completion;
  const { deadlineMs } = payload.batch ? batch : interactive;
  const renewed = { ...payload, deadlineAt: Date.now() + deadlineMs };
  await job.updateData(renewed);
  return renewed;
}

/** Why it was put back last. */
function waitsFor({ progress }: Job): string {
  return (progress as { waitsFor?: string } | undefined)?.waitsFor ?? "";
}

/** Everything that the job's calls count towards. */
async function openCostLimits(
  { store }: WorkerContext,
  jobId: string,
  { batch, conversation, maxCostUsd, deadlineAt }: CompletionPayload,
  hasBatchLimit: boolean,
): Promise<CostLimit[]> {
  const limits: CostLimit[] = [];
  if (batch && hasBatchLimit) limits.push({ ledger: store.keys.batch(batch.id), of: "batch" });
  if (maxCostUsd !== undefined) {
    const ledger = await openJobLedger(store, jobId, { maxCostUsd, deadlineAt });
    limits.push({ ledger, of: "job" });
  }
  const talk = conversation && store.keys.conversation(conversation.id);
  if (talk && (await store.redis.hexists(talk, "maxCostUsd")))
    limits.push({ ledger: talk, of: "conversation" });
  return limits;
}

function verdictOnStanding(
  standing: Standing,
  payload: CompletionPayload,
  jobId: string,
): Verdict | undefined {
  switch (standing.kind) {
    case "clear":
      return undefined;
    case "finished":
      return { kind: "done", record: standing.record };
    case "acknowledged":
      return { kind: "done", record: emptyRecord(jobId, payload, "succeeded") };
    case "cancelled":
      return { kind: "fail", error: new JobCancelledError() };
    case "held":
      return { kind: "putBack", delayMs: HELD_MS, reason: standing.reason };
  }
}

function verdictOnAbort(signal: AbortSignal, journal: JobJournal | undefined): Verdict {
  if ((signal.reason as AbortReason | undefined) === "cancelled") {
    return { kind: "fail", error: new JobCancelledError(), spent: journal && spentOn(journal.allCalls) };
  }
  return { kind: "putBack", delayMs: 0, reason: "its worker stopped" };
}

/** Bugs and faults of Redis take the verdict's way too, so that a job that ends by them leaves its record. */
function unexpected(error: unknown, logger: Logger): GlueError {
  // Its message may quote what somebody sent or answered.
  const { name = typeof error, stack = "" } = error instanceof Error ? error : {};
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line));
  logger.error({ fault: name, frames }, "unexpected fault in an attempt");
  return new GlueError(toErrorRecord(error));
}
