import { type CompletionPayload, hasSeveralCalls } from "../shared/catalog.ts";
import { modelKeyOf, type ResultRecord } from "../shared/records.ts";
import { isBlobRef, releaseBlob } from "../store/blobs.ts";
import { snoozesOf } from "../store/bullmq-internals.ts";
import { readLog } from "../store/job-log.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { type WriteOutcome, writeRecord } from "../store/result-record.ts";
import { endStep } from "../store/step-end.ts";
import { retentionOf } from "../store/tenant-retention.ts";
import { turnAnswer, wakeNextTurn } from "./conversation.ts";
import { historyDetail } from "./history-detail.ts";
import { type Attempt, dueAt, jobClassOf } from "./job-attempt.ts";
import { forgetLaneCalls } from "./lane-call.ts";
import { tellWaiting } from "./suspension.ts";
import type { Verdict } from "./verdict.ts";

/** Lines of a job's log in its record. */
const MAX_KEPT_LINES = 20;

type Done = Extract<Verdict, { kind: "done" }>;

/** Makes a job's end final, and tells all that wait for it. Does nothing for a payload that could not be read. */
export async function recordOutcome(
  attempt: Attempt,
  payload: CompletionPayload | undefined,
  record: ResultRecord,
  { added = [], asked, sentAt, calls }: Partial<Pick<Done, "added" | "asked" | "sentAt" | "calls">> = {},
): Promise<void> {
  if (!payload) return;
  const { context, queue, job, token, jobId, logger } = attempt;
  const budgetKey = record.status === "succeeded" ? countedKey(queue.name, payload, record) : undefined;
  const answer = payload.conversation && turnAnswer(record, added, asked);
  const detail = await historyDetail(context, payload, record, calls);
  const log = await logOf(attempt, payload);
  const outcome = await untilTaken(logger, () =>
    writeRecord(context.store, {
      queue: queue.name,
      token,
      payload,
      record: log.length > 0 ? { ...record, log } : record,
      budgetKey,
      answer,
      sentAt,
      course: { createdAt: job.timestamp, startedAt: job.processedOn, waits: snoozesOf(job) },
      detail,
      retention: retentionOf(context.settings.retention, context.tenants.of(payload.tenant)),
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
  if (payload.lane?.kind === "batch" && outcome !== "fenced")
    await forgetLaneCalls(context, jobId, Math.max(record.turns ?? 0, record.calls ?? 0));
  if (payload.workflow && outcome !== "fenced") {
    const { workflow } = payload;
    await untilTaken(logger, () => endStep(context.store, workflow, record));
  }
  if (outcome !== "fenced") await tellWaiting(attempt, payload);
  // A fenced worker's job is another one's: it may still have to read its request.
  if (record.status === "succeeded" && outcome !== "fenced" && isBlobRef(payload.request)) {
    await releaseBlob(context.store, payload.request, jobId);
  }
}

/** What of its log outlives the job. A row's record goes before its job does. */
async function logOf(
  { context, queue, job, jobId, logger }: Attempt,
  { batch }: CompletionPayload,
): Promise<string[]> {
  if (batch !== undefined || job.attemptsStarted <= 1) return [];
  return readLog(context.store, { queue: queue.name, id: jobId }, MAX_KEPT_LINES).catch((error: Error) => {
    logger.debug({ fault: error.message }, "a job's log was not kept");
    return [];
  });
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
    tenant: payload.tenant,
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
