import type { CompletionPayload } from "../shared/catalog.ts";
import type { TurnAnswer } from "../shared/conversation.ts";
import { ACKNOWLEDGED, modelKeyOf, type ResultRecord } from "../shared/records.ts";
import { RESULT_TTL_SECONDS, type Retention, resultTtlSeconds } from "../shared/retention.ts";
import { storedFault } from "../shared/stored-data.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { SPEND_BY_KEY } from "./api-key.ts";
import { REPORT_ROW } from "./batch-done-list.ts";
import { HOLD_OF, JOB_TIMES, jobKey, jobLockKey } from "./bullmq-internals.ts";
import { ANSWER_TURN, storedAnswer } from "./conversation.ts";
import { COUNT_END, END_COUNT_ARGS, END_COUNT_KEYS, endCount, jobPlace } from "./error-counts.ts";
import { GroupedScript } from "./grouped-script.ts";
import { type JobCourse, jobFigures } from "./job-figures.ts";
import { ANNOUNCE } from "./outbox.ts";
import type { OutboxDetail } from "./outbox-event.ts";
import { sealDetail } from "./past-contents.ts";
import { ANSWER_REFUSED } from "./refused-rows.ts";
import { Script } from "./script.ts";
import { STANDING } from "./standing-record.ts";
import type { Store } from "./store.ts";
import { openRecord, recordText } from "./stored-record.ts";
import { END_OPEN } from "./tenant-queue.ts";
import { NOTIFY } from "./topics.ts";
import { COUNT_USAGE, usageKey } from "./usage.ts";

/*
 * The result record of a job: a string at `result:<jobId>`. It is the truth that every attempt looks for before it
 * pays: JSON of a `ResultRecord`, or the mark `acknowledged` of a row whose result is safe in its file.
 *
 * | from                            | to                | by               | who                                         |
 * |---------------------------------|-------------------|------------------|---------------------------------------------|
 * | none, failed                    | succeeded, failed | `writeRecord`    | the worker that holds the job's lock        |
 * | none, failed                    | cancelled         | `writeRecord`    | the same, when it is told of a cancellation |
 * | cancelled                       | cancelled         | `writeRecord`    | the same, once: with what was paid before   |
 * | none; failed, being retried     | cancelled         | `cancelRecord`   | a producer                                  |
 * | any record of a row             | acknowledged      | `acknowledge`    | the row sender, while BullMQ may still run  |
 * |                                 |                   |                  | the job (batch-done-list.ts)                |
 * | any record of a row             | none              | `acknowledge`    | the row sender, else                        |
 * | failed, cancelled, acknowledged | none              | `forgetFailures` | the row sender, before it sends a row again |
 * | any                             | none              | –                | its life is over (`RESULT_TTL_SECONDS`)     |
 */

/** Lua: `isCancelled(result)` tells from the record's text, which it does not parse. */
export const IS_CANCELLED = `
  local function isCancelled(result)
    local standing = redis.call('GET', result)
    return standing and string.find(standing, '"status":"cancelled"', 1, true) ~= nil
  end
`;

/**
 * Makes a job's outcome final, with all that goes with it: the batch's done-list, the job's journal, the usage, and
 * the job's turn in its conversation; what it proves of rows that the provider refused; and the outbox. The push and the wake-up of
 * the row sender are part of it, so that a recorded row can never miss its done-list; a row that was recorded before is
 * pushed again, since whoever sent it again has not seen its result.
 * Keys: BullMQ's job and its lock, the record, the present counter of usage, the done-list, the journal, the
 * conversation, the refused rows of the model, the key of the API that pays, the outbox. Arguments: `token` of the lock; `record` as
 * JSON, its life, and of its fields `jobId`, `status`, `paidCalls`, the tokens, `costUsd`, whether some of it is a guess;
 * the `channel` of the namespace; `batchId`, empty but for rows; `countedCalls` that the usage does not know yet; `turn`,
 * empty outside conversations, and its `answer` as JSON; `sentAgoMs`, when its latest call was sent; for the outbox the `tenant`, `figures` and `detail` as JSON;
 * and those of `COUNT_END`.
 * Returns: a `WriteOutcome`. Called by `writeRecord`, for the worker that has the job.
 * Fence: the job's lock. A worker whose lock another one took over writes nothing. A failure's record gives way to what
 * a retry brings; anything else is written once.
 */
const WRITE = new GroupedScript({
  keys: [
    ...(["job", "lock", "result", "usage", "done", "journal", "conversation", "refused"] as const),
    ...(["apiKey", "outbox", "open"] as const),
    ...END_COUNT_KEYS,
  ],
  args: {
    token: "text",
    record: "text",
    ttlSeconds: "number",
    jobId: "text",
    status: "text",
    paidCalls: "number",
    promptTokens: "number",
    outputTokens: "number",
    cachedTokens: "number",
    totalTokens: "number",
    costUsd: "number?",
    isEstimated: "flag",
    channel: "text",
    batchId: "text",
    countedCalls: "number",
    turn: "text",
    answer: "text",
    turnTtlSeconds: "number",
    sentAgoMs: "number?",
    tenant: "text",
    figures: "text",
    ...END_COUNT_ARGS,
    detail: "text",
  },
  lua: `${COUNT_END}${ANSWER_REFUSED}${NOTIFY}${HOLD_OF}${COUNT_USAGE}${REPORT_ROW}${ANSWER_TURN}${STANDING}${SPEND_BY_KEY}${ANNOUNCE}${END_OPEN}
    local before = standingRecord(result)
    if before and before.status == '${ACKNOWLEDGED}' then return 'recorded' end
    local isPaidCancel = before and before.status == 'cancelled' and status == 'cancelled'
      and not before.calls and paidCalls > 0
    if before and before.status ~= 'failed' and not isPaidCancel then
      if batchId ~= '' then reportRow(done, jobId, batchId) end
      return 'recorded'
    end
    local hold = holdOf(job, lock, token)
    if hold ~= 'held' then return hold end
    redis.call('SET', result, record, 'EX', ttlSeconds)
    if status == 'succeeded' then redis.call('DEL', journal)
    elseif redis.call('TTL', journal) > ttlSeconds then redis.call('EXPIRE', journal, ttlSeconds) end
    -- Most jobs have none of these: one look tells.
    local isUsual = redis.call('EXISTS', refused, outbox, open) == 0
    if not isUsual then endOpen(open, jobId) end
    if not isUsual and redis.call('EXISTS', refused) == 1 then
      if status == 'succeeded' and sentAgoMs then answerRefused(refused, sentAgoMs) end
      if batchId ~= '' then redis.call('HDEL', refused, jobId) end
    end
    spendByKey(apiKey, costUsd, before)
    countEnd(status ~= 'cancelled' and 'end' or nil, costUsd and costUsd - knownCost(before))
    if countedCalls > 0 then countUsage(usage, countedCalls, totalTokens, outputTokens) end
    if turn ~= '' and redis.call('TYPE', conversation).ok == 'hash' then
      local use = {
        calls = paidCalls, prompt = promptTokens, completion = outputTokens, cached = cachedTokens, costUsd = costUsd,
        isEstimated = isEstimated,
      }
      answerTurn(conversation, turn, jobId, answer, use, before, turnTtlSeconds)
    end
    if not isUsual then announce('job', jobId, tenant, status, figures, nil, detail) end
    if batchId ~= '' then reportRow(done, jobId, batchId) else notify('result', jobId) end
    return 'written'
  `,
});

/** `recorded`: a record stood already. `gone`: BullMQ no longer has the job. `fenced`: another worker has it. */
export type WriteOutcome = "written" | "recorded" | "gone" | "fenced";

interface WriteOptions {
  queue: string;
  token: string;
  payload: CompletionPayload;
  record: ResultRecord;
  /** `entry:model`, or the queue of jobs of several, whose use is counted; absent when no provider call was made. */
  budgetKey?: string;
  /** Of the job's turn in its conversation. */
  answer?: TurnAnswer | undefined;
  /** When its latest call was sent, by `performance.now()`; absent when none was made. */
  sentAt?: number | undefined;
  course?: JobCourse;
  /** What the history is told beside the figures. */
  detail?: OutboxDetail | undefined;
  retention: Retention;
}

/** Makes an attempt's outcome final. Everything after it (BullMQ's own completion) may be lost without harm. */
export async function writeRecord(store: Store, options: WriteOptions): Promise<WriteOutcome> {
  const {
    queue,
    token,
    payload,
    record,
    budgetKey,
    answer = null,
    sentAt,
    course,
    detail,
    retention,
  } = options;
  const { batch, conversation, tenant, by } = payload;
  const { jobId, status, tokens, calls, costUsd, error } = record;
  const failure =
    status === "failed" && error
      ? { code: error.code, example: { id: jobId, message: error.message } }
      : undefined;
  const ended = endCount(store, jobPlace(queue, modelKeyOf(record), payload), retention, failure);
  const outcome = await WRITE.run(
    store.redis,
    {
      job: jobKey(store, queue, jobId),
      lock: jobLockKey(store, queue, jobId),
      result: store.keys.result(jobId),
      usage: usageKey(store.keys, budgetKey ?? "none"),
      done: store.keys.batchDone(batch?.id ?? "none"),
      journal: store.keys.journal(jobId),
      conversation: store.keys.conversation(conversation?.id ?? "none"),
      refused: store.keys.refused(payload.batch?.key ?? modelKeyOf(record)),
      apiKey: store.keys.apiKey(by ?? "none"),
      outbox: store.keys.outbox,
      open: store.keys.tenantOpen(tenant ?? DEFAULT_TENANT),
      ...ended.keys,
    },
    {
      token,
      record: await recordText(store, tenant === undefined ? record : { ...record, tenant }),
      ttlSeconds: resultTtlSeconds(payload, status, retention),
      jobId,
      status,
      paidCalls: calls ?? (status === "succeeded" ? 1 : 0),
      promptTokens: tokens.prompt,
      outputTokens: tokens.completion,
      cachedTokens: tokens.cached,
      totalTokens: tokens.total,
      costUsd: costUsd ?? undefined,
      isEstimated: tokens.estimated === true,
      channel: store.keys.channel,
      batchId: batch?.id ?? "",
      countedCalls: budgetKey ? (calls ?? 1) : 0,
      turn: conversation ? String(conversation.position) : "",
      answer: await storedAnswer(store, conversation?.id, answer),
      turnTtlSeconds: Math.ceil(retention.conversationsMs / 1000),
      sentAgoMs: sentAt === undefined ? undefined : Math.round(performance.now() - sentAt),
      tenant: tenant ?? "",
      figures: JSON.stringify(jobFigures(queue, payload, record, course)),
      ...ended.args,
      detail: detail === undefined ? "" : JSON.stringify(await sealDetail(store, jobId, detail)),
    },
  );
  return outcome as WriteOutcome;
}

/**
 * Writes the record `cancelled`, which is all there is of a cancellation: every attempt looks for it before it pays.
 * The messages abort a call in flight and wake those who wait.
 * Keys: the record, BullMQ's job, the outbox, the tenant's open jobs. Arguments: the record as JSON, the job's id, the channel; the tenant and figures for the outbox.
 * Returns: the status that stands now, or `lost` when there is neither record nor job.
 * Called by `cancelRecord`, for a producer. Fence: none but the record: one that stands stays, unless an operator has
 * its failed job retried (BullMQ forgot the failed attempt, or began another one).
 */
const CANCEL = new Script({
  keys: ["result", "job", "outbox", "open"],
  args: { record: "text", jobId: "text", channel: "text", tenant: "text", figures: "text" },
  lua: `${NOTIFY}${JOB_TIMES}${STANDING}${ANNOUNCE}${END_OPEN}
    local before = standingRecord(result)
    local isRetried = false
    if before and before.status == 'failed' and isUnfinished(job) then
      local began = startedAt(job)
      isRetried = not began or began > before.finishedAt
    end
    if before and not isRetried then return before.status end
    if redis.call('EXISTS', job) == 0 then return 'lost' end
    redis.call('SET', result, record, 'EX', ${RESULT_TTL_SECONDS.succeeded})
    announce('job', jobId, tenant, 'cancelled', figures)
    endOpen(open, jobId)
    notify('cancel', jobId)
    notify('result', jobId)
    return 'cancelled'
  `,
});

/** Returns what has become of the job: an answer that came first stays. `lost`: Redis has neither job nor record. */
export async function cancelRecord(
  store: Store,
  queue: string,
  payload: CompletionPayload,
  record: ResultRecord,
): Promise<ResultRecord["status"] | "lost"> {
  const { jobId, tenant = "" } = record;
  const figures = JSON.stringify(jobFigures(queue, payload, record, undefined));
  const outcome = await CANCEL.run(
    store.redis,
    {
      result: store.keys.result(jobId),
      job: jobKey(store, queue, jobId),
      outbox: store.keys.outbox,
      open: store.keys.tenantOpen(tenant || DEFAULT_TENANT),
    },
    { record: await recordText(store, record), jobId, channel: store.keys.channel, tenant, figures },
  );
  return outcome as ResultRecord["status"] | "lost";
}

/**
 * Deletes the records that no answer was paid for, marks included: the file has no result of these rows.
 * Keys: the records. Arguments: none. Returns nothing. Called by `forgetFailures`, for the row sender, which holds the
 * batch's lease. Fence: none; a success stays.
 */
const FORGET_FAILURES = new Script({
  keys: [],
  moreKeys: "results",
  lua: `${STANDING}
    for _, result in ipairs(results) do
      local record = standingRecord(result)
      if record and record.status ~= 'succeeded' then redis.call('DEL', result) end
    end
  `,
});

/** Rows are sent again that have no result in the file: what stands of them in Redis must not end them at once. */
export async function forgetFailures(store: Store, jobIds: readonly string[]): Promise<void> {
  await FORGET_FAILURES.run(store.redis, {}, {}, { keys: jobIds.map((jobId) => store.keys.result(jobId)) });
}

/** Returns what the job brought; undefined until it has ended. @throws GlueError `corrupt_data` */
export async function readRecord(store: Store, jobId: string): Promise<ResultRecord | undefined> {
  const text = await store.redis.get(store.keys.result(jobId)).catch((error) => {
    throw storedFault(`the result record of job ${jobId}`, error);
  });
  return openRecord(store, jobId, text);
}
