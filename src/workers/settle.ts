import { DelayedError, RateLimitError, UnrecoverableError } from "bullmq";
import { type PauseAsked, pauseModel } from "../limits/pause.ts";
import { type CompletionPayload, type CompletionSummary, hasSeveralCalls } from "../shared/catalog.ts";
import { previewOfAnswer } from "../shared/chat.ts";
import { policyOf } from "../shared/error-policy.ts";
import { privatePartsOf, toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { logFault } from "../shared/fault-log.ts";
import { modelRef } from "../shared/model-name.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import { emptyRecord, modelKeyOf, type ResultRecord } from "../shared/records.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { stopBatch } from "../store/batch.ts";
import { isBlobRef, releaseBlob } from "../store/blobs.ts";
import { snoozesOf } from "../store/bullmq-internals.ts";
import { countFailure } from "../store/error-counts.ts";
import { putBack, RetryError } from "../store/job-loop.ts";
import { PAUSE_TEST_MS } from "../store/long-pause.ts";
import { announceJob } from "../store/outbox.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { type WriteOutcome, writeRecord } from "../store/result-record.ts";
import { endStep } from "../store/step-end.ts";
import { type FailureReport, reportError } from "../telemetry/error-reports.ts";
import { traceIdOf } from "../telemetry/trace-context.ts";
import { turnAnswer, wakeNextTurn } from "./conversation.ts";
import { historyDetail } from "./history-detail.ts";
import { type Attempt, dueAt, jobClassOf, lostCalls, type Waiting } from "./job-attempt.ts";
import { holdRefused, REFUSED_MS, WAITS_FOR_EVIDENCE } from "./refused-row.ts";
import { backoffMs, type LimitedRow, type Verdict } from "./verdict.ts";

export const HELD_MS = 30_000;

interface SentBack {
  delayMs: number;
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
      await finish(attempt, payload, verdict.record, verdict);
      return summaryOf(verdict.record);
    case "retry":
      return retry(attempt, verdict, waiting);
    case "snooze":
      return snooze(attempt, verdict, waiting);
    case "putBack":
      return sendBack(attempt, { ...verdict, waiting });
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

/** Lines of a job's log, and characters of a line: an outage may last for days. */
const MAX_LOG_LINES = 50;
const MAX_LOG_CHARS = 300;

/** Tells Bull Board of an attempt that was not the last one; our own words, without the request. */
async function logAttempt(
  { job, jobId, queue, logger }: Attempt,
  { code, message }: GlueError,
  delayMs: number,
): Promise<void> {
  const line = `${new Date().toISOString()} attempt ${job.attemptsMade + 1} ended: ${code}: ${message}`;
  const log = `${line.slice(0, MAX_LOG_CHARS)}; again in ${Math.ceil(delayMs / 1000)} s`;
  await queue
    .addJobLog(jobId, log, MAX_LOG_LINES)
    .catch((error: Error) => logger.debug({ fault: error.message }, "an attempt was not logged"));
}

async function retry(
  attempt: Attempt,
  { error, delayMs }: VerdictOf<"retry">,
  waiting: Waiting | undefined,
): Promise<never> {
  const { job, logger } = attempt;
  if (policyOf(error).fails === "second")
    await job.updateProgress({ lost: lostCalls(job), failed: error.code, waiting });
  else if (waiting) await job.updateProgress({ ...Object(job.progress), waiting });
  const told = { fault: toErrorRecord(error), delayMs };
  await logAttempt(attempt, error, delayMs);
  logFault(logger, error.code, told, "attempt failed; will retry", "warn");
  throw new RetryError(failureText(error, job.attemptsMade + 1), delayMs);
}

async function snooze(
  attempt: Attempt,
  verdict: VerdictOf<"snooze">,
  waiting: Waiting | undefined,
): Promise<never> {
  const { scope, delayMs, error, limited } = verdict;
  // Of what was sent; a wait for a budget or the cache is no attempt.
  if (policyOf(error).counts !== "nothing") await logAttempt(attempt, error, delayMs);
  if (scope === "job")
    return sendBack(attempt, { delayMs, reason: `${error.code}: ${error.message}`, waiting });
  await pause(attempt, { scope, delayMs, reason: `${error.code}: ${error.message}` });
  // Every second of an outage has one of the breaker's, every minute of a long pause one of each worker's.
  const level = policyOf(error).counts === "nothing" ? "debug" : "info";
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
  if (limited) await job.updateProgress({ lost: lostCalls(job), limited, waiting });
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
  { error, pause: pauseAsked, models, spent, calls }: VerdictOf<"fail">,
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
    await finish(attempt, payload, { ...record, ...models, ...spent, ...fault }, { calls });
  } else {
    const { store, settings } = attempt.context;
    const told = { id: jobId, queue: attempt.queue.name, errorCode: error.code, attempts };
    await untilTaken(logger, () => announceJob(store, told));
    const place = { model: undefined, queue: attempt.queue.name, tenant: DEFAULT_TENANT };
    const example = { id: jobId, message: error.message };
    await countFailure(store, "end", place, settings.retention, { code: error.code, example });
  }
  throw withoutStack(new UnrecoverableError(failureText(error, attempts)));
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

async function finish(
  attempt: Attempt,
  payload: CompletionPayload | undefined,
  record: ResultRecord,
  { added = [], sentAt, calls }: Partial<Pick<VerdictOf<"done">, "added" | "sentAt" | "calls">> = {},
): Promise<void> {
  if (!payload) return;
  const { context, queue, job, token, jobId, logger } = attempt;
  const budgetKey = record.status === "succeeded" ? countedKey(queue.name, payload, record) : undefined;
  const answer = payload.conversation && turnAnswer(record, added);
  const detail = await historyDetail(context, payload, record, calls);
  const outcome = await untilTaken(logger, () =>
    writeRecord(context.store, {
      queue: queue.name,
      token,
      payload,
      record,
      budgetKey,
      answer,
      sentAt,
      course: { createdAt: job.timestamp, startedAt: job.processedOn, waits: snoozesOf(job) },
      detail,
      retention: context.settings.retention,
    }),
  );
  if (payload.conversation) {
    await wakeNextTurn(context, queue, payload.conversation).catch((error: Error) =>
      logger.debug(
        { fault: error.message },
        "the conversation's next call was not woken; it looks by itself",
      ),
    );
  }
  if (outcome === "fenced" || outcome === "gone") {
    logger.warn({ outcome }, "this worker no longer owns the job; its result is not recorded");
  } else if (record.status === "succeeded") logger.debug(figuresOf(record), "job finished");
  tellEnd(attempt, payload, record, outcome);
  if (payload.workflow && outcome !== "fenced") {
    const { workflow } = payload;
    await untilTaken(logger, () => endStep(context.store, workflow, record));
  }
  // A fenced worker's job is another one's: it may still have to read its request.
  if (record.status === "succeeded" && outcome !== "fenced" && isBlobRef(payload.request)) {
    await releaseBlob(context.store, payload.request, jobId);
  }
}

/** Tells metrics and the fleet's sums of a job's end, once: where its record was written. */
function tellEnd(
  { context, queue, job }: Attempt,
  payload: CompletionPayload,
  { status, error }: ResultRecord,
  outcome: WriteOutcome,
): void {
  const { metrics, outcomes } = context;
  // Who cancels a job writes its record.
  if (outcome !== "written" && !(outcome === "recorded" && status === "cancelled")) return;
  if (status !== "cancelled") outcomes.ended(status);
  metrics?.jobEnded({
    queue: queue.name,
    class: jobClassOf(payload),
    status,
    code: error?.code ?? "",
    agent: payload.agent,
    dueAt: dueAt(job),
    startedAt: job.processedOn ?? Date.now(),
    endedAt: Date.now(),
  });
}

/** What an operator wants to know of a call; no word of the request or the answer. */
function figuresOf(record: ResultRecord) {
  const { latencyMs, tokens, costUsd, attempts, fromCache } = record;
  return {
    model: modelKeyOf(record),
    latencyMs,
    promptTokens: tokens.prompt,
    completionTokens: tokens.completion,
    costUsd,
    attempts,
    fromCache,
  };
}

/** Whose use the record counts. Journaled calls were counted when they were finished, for their models. */
function countedKey(queue: string, payload: CompletionPayload, record: ResultRecord): string | undefined {
  if (payload.fallbacks) return queue;
  return hasSeveralCalls(payload) ? undefined : modelKeyOf(record);
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

function failureText(error: GlueError, attempts: number): string {
  const request = error.providerRequestId ? ` [provider request ${error.providerRequestId}]` : "";
  return `${error.code} (attempt ${attempts}): ${error.message}${error.hint ? `; ${error.hint}` : ""}${request}`;
}

function summaryOf(record: ResultRecord): CompletionSummary {
  const body = record.response?.body;
  const text = !body || isBlobRef(body) ? "(large result, kept apart)" : previewOfAnswer(body);
  const { status, model, tokens, costUsd } = record;
  return { status, model, tokens, costUsd, text };
}
