import type { CompletionPayload } from "../shared/catalog.ts";
import { CONVERSATION_TTL_SECONDS, type TurnAnswer } from "../shared/conversation.ts";
import { policyOf } from "../shared/error-policy.ts";
import { modelRef } from "../shared/model-name.ts";
import { ACKNOWLEDGED, type ResultRecord, resultRecordSchema, resultTtlSeconds } from "../shared/records.ts";
import type { FinishedCall } from "./job-journal.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";
import { USAGE_TTL_SECONDS, usageKey } from "./usage.ts";

/**
 * Fenced: a worker whose lock another one took over writes nothing. A lock that merely ran out still counts,
 * since the answer is paid for and nobody else has begun. A failure's record gives way to a later success
 * (an operator's retry); anything else is written once. The push and the wake-up of the batch's feeder are
 * part of it, so that a recorded row can never miss its done-list; a row that was recorded before is pushed again,
 * since whoever sent it again has not seen its result. What a turn of a conversation adds to it is part of it too.
 */
const WRITE = new RedisScript(`
  local job, lock, result, usage, done, journal, conversation = unpack(KEYS)
  local token, record, ttl, channel, message, row, status, calls, tokens, outputTokens, usageTtl = unpack(ARGV)
  local turn, jobId, answer, prompt, cached, costUsd, conversationTtl = unpack(ARGV, 12)
  local paid = tonumber(ARGV[19])
  local function report()
    if row == '' or redis.call('RPUSH', done, row) == 1 then redis.call('PUBLISH', channel, message) end
  end
  local standing = redis.call('GET', result)
  if standing == '${ACKNOWLEDGED}' then return 'recorded' end
  local before = standing and cjson.decode(standing)
  local isPaidCancel = before and before.status == 'cancelled' and status == 'cancelled' and not before.calls and paid > 0
  if before and before.status ~= 'failed' and not isPaidCancel then
    if row ~= '' then report() end
    return 'recorded'
  end
  if redis.call('EXISTS', job) == 0 then return 'gone' end
  local holder = redis.call('GET', lock)
  if holder and holder ~= token then return 'fenced' end
  redis.call('SET', result, record, 'EX', ttl)
  if status == 'succeeded' then redis.call('DEL', journal) end
  if tonumber(calls) > 0 then
    redis.call('HINCRBY', usage, 'requests', calls)
    redis.call('HINCRBY', usage, 'tokens', tokens)
    redis.call('HINCRBY', usage, 'outputTokens', outputTokens)
    redis.call('EXPIRE', usage, usageTtl)
  end
  if turn ~= '' and redis.call('HGET', conversation, 'job:' .. jobId) == turn then
    redis.call('HSET', conversation, 'answer:' .. turn, answer)
    redis.call('HINCRBY', conversation, 'bytes', #answer)
    -- What an earlier failure counted already is part of this record's sums.
    local old = before and before.tokens or {prompt = 0, completion = 0, cached = 0}
    local oldPaid = before and before.calls or 0
    local oldCost = before and type(before.costUsd) == 'number' and before.costUsd or 0
    redis.call('HINCRBY', conversation, 'calls', paid - oldPaid)
    redis.call('HINCRBY', conversation, 'promptTokens', prompt - old.prompt)
    redis.call('HINCRBY', conversation, 'completionTokens', outputTokens - old.completion)
    redis.call('HINCRBY', conversation, 'cachedTokens', cached - (old.cached or 0))
    if costUsd ~= '' then
      redis.call('HINCRBYFLOAT', conversation, 'costUsd', string.format('%.12f', costUsd - oldCost))
    elseif paid > oldPaid then redis.call('HINCRBY', conversation, 'unpriced', 1) end
    if redis.call('TTL', conversation) < tonumber(conversationTtl) then
      redis.call('EXPIRE', conversation, conversationTtl)
    end
  end
  report()
  return 'written'
`);

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
}

/** Makes an attempt's outcome final. Everything after it (BullMQ's own completion) may be lost without harm. */
export async function writeRecord(store: Store, options: WriteOptions): Promise<WriteOutcome> {
  const { queue, token, payload, record, budgetKey, answer } = options;
  const { batch, conversation } = payload;
  const outcome = await WRITE.run(
    store.redis,
    [
      store.keys.job(queue, record.jobId),
      store.keys.jobLock(queue, record.jobId),
      store.keys.result(record.jobId),
      usageKey(store.keys, budgetKey ?? "none"),
      store.keys.batchDone(batch?.id ?? "none"),
      store.keys.journal(record.jobId),
      store.keys.conversation(conversation?.id ?? "none"),
    ],
    [
      token,
      JSON.stringify(record),
      resultTtlSeconds(payload, record.status),
      store.keys.channel,
      batch ? `batch:${batch.id}` : `result:${record.jobId}`,
      batch ? record.jobId : "",
      record.status,
      budgetKey ? (record.calls ?? 1) : 0,
      record.tokens.total,
      record.tokens.completion,
      USAGE_TTL_SECONDS,
      conversation?.position ?? "",
      record.jobId,
      JSON.stringify(answer ?? null),
      record.tokens.prompt,
      record.tokens.cached,
      record.costUsd ?? "",
      CONVERSATION_TTL_SECONDS,
      record.calls ?? (record.status === "succeeded" ? 1 : 0),
    ],
  );
  return outcome as WriteOutcome;
}

/** Counts an answered call of a job of several at once: its record comes late, or never, and cannot say which model used what. */
export async function countCall(store: Store, { entry, model, tokens }: FinishedCall) {
  const usage = usageKey(store.keys, modelRef(entry, model).key);
  const pipeline = store.redis
    .pipeline()
    .hincrby(usage, "requests", 1)
    .hincrby(usage, "tokens", tokens.total);
  await pipeline.hincrby(usage, "outputTokens", tokens.completion).expire(usage, USAGE_TTL_SECONDS).exec();
}

interface FailedCall {
  budgetKey: string;
  error: unknown;
  /** Another attempt follows. */
  isRepeated: boolean;
  batchId: string | undefined;
}

/** Counts a call that brought no result, if one was made: the provider saw it all the same. */
export async function countFailedCall(
  store: Store,
  { budgetKey, error, isRepeated, batchId }: FailedCall,
): Promise<void> {
  const { counts } = policyOf(error);
  if (counts === "nothing") return;
  const usage = usageKey(store.keys, budgetKey);
  const counter = counts === "rateLimited" ? "rateLimited" : isRepeated ? "retries" : undefined;
  const pipeline = store.redis.pipeline().hincrby(usage, counter === "rateLimited" ? counter : "requests", 1);
  pipeline.expire(usage, USAGE_TTL_SECONDS);
  if (batchId && counter) pipeline.hincrby(store.keys.batch(batchId), counter, 1);
  await pipeline.exec();
}

/** What stands before an attempt: a finished result, or a reason not to start. */
export type Standing =
  /** `hasFailed`: an operator has it retried. */
  | { kind: "clear"; hasCostLimit: boolean; hasFailed: boolean }
  | { kind: "acknowledged" }
  | { kind: "finished"; record: ResultRecord }
  | { kind: "cancelled" }
  | { kind: "held"; reason: string };

/** One round trip that every attempt makes before it pays. */
export async function lookUp(store: Store, jobId: string, batchId: string | undefined): Promise<Standing> {
  const pipeline = store.redis.pipeline().get(store.keys.result(jobId));
  if (batchId)
    pipeline
      .hmget(store.keys.batch(batchId), "stop", "status", "maxCostUsd")
      .exists(store.keys.batchLease(batchId));
  const replies = ((await pipeline.exec()) ?? []).map(([error, value]) => {
    if (error) throw error;
    return value;
  });
  const [result, batch, lease] = replies as [string | null, (string | null)[]?, number?];
  if (result === ACKNOWLEDGED) return { kind: "acknowledged" };
  if (result !== null) {
    const record = resultRecordSchema.parse(JSON.parse(result));
    if (record.status === "cancelled") return { kind: "cancelled" };
    if (record.status === "succeeded") return { kind: "finished", record };
  }
  if (batchId && batch?.[0]) return { kind: "held", reason: `batch ${batchId} is stopped` };
  if (batchId && batch?.[1]?.startsWith("cancel"))
    return { kind: "held", reason: `batch ${batchId} is cancelled` };
  if (batchId && !lease)
    return { kind: "held", reason: `batch ${batchId} has no runner; run its command again` };
  return { kind: "clear", hasCostLimit: typeof batch?.[2] === "string", hasFailed: result !== null };
}
