import type { Redis } from "ioredis";
import type { CompletionPayload } from "../shared/catalog.ts";
import { OverloadedError, RateLimitError } from "../shared/errors.ts";
import {
  ACKNOWLEDGED,
  RESULT_TTL_SECONDS,
  type ResultRecord,
  resultRecordSchema,
} from "../shared/records.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";
import { RedisScript } from "../shared/redis-script.ts";
import { USAGE_TTL_SECONDS, usageKey } from "../shared/usage.ts";
import type { Verdict } from "./verdict.ts";

/**
 * Fenced: a worker whose lock another one took over writes nothing. A lock that merely ran out still counts,
 * since the answer is paid for and nobody else has begun. A failure's record gives way to a later success
 * (an operator's retry); anything else is written once. The push and the wake-up of the batch's feeder are
 * part of it, so that a recorded row can never miss its done-list; a row that was recorded before is pushed again,
 * since whoever sent it again has not seen its result.
 */
const WRITE = new RedisScript(`
  local job, lock, result, usage, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
  local token, record, ttl, channel, message, row, tokens, outputTokens, usageTtl = unpack(ARGV)
  local function report()
    if row == '' or redis.call('RPUSH', done, row) == 1 then redis.call('PUBLISH', channel, message) end
  end
  local standing = redis.call('GET', result)
  if standing == '${ACKNOWLEDGED}' then return 'recorded' end
  if standing and cjson.decode(standing).status ~= 'failed' then
    if row ~= '' then report() end
    return 'recorded'
  end
  if redis.call('EXISTS', job) == 0 then return 'gone' end
  local holder = redis.call('GET', lock)
  if holder and holder ~= token then return 'fenced' end
  redis.call('SET', result, record, 'EX', ttl)
  if tonumber(tokens) >= 0 then
    redis.call('HINCRBY', usage, 'requests', 1)
    redis.call('HINCRBY', usage, 'tokens', tokens)
    redis.call('HINCRBY', usage, 'outputTokens', outputTokens)
    redis.call('EXPIRE', usage, usageTtl)
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
  /** `entry:model`, whose use is counted; absent when no provider call was made. */
  budgetKey?: string;
}

/** Makes an attempt's outcome final. Everything after it (BullMQ's own completion) may be lost without harm. */
export async function writeRecord(
  redis: Redis,
  keys: RedisKeys,
  options: WriteOptions,
): Promise<WriteOutcome> {
  const { queue, token, payload, record, budgetKey } = options;
  const { batch, workflow } = payload;
  const kind = batch ? "batchRow" : workflow ? "workflowStep" : record.status;
  const ttl = RESULT_TTL_SECONDS[kind === "cancelled" ? "succeeded" : kind];
  const outcome = await WRITE.run(
    redis,
    [
      keys.job(queue, record.jobId),
      keys.jobLock(queue, record.jobId),
      keys.result(record.jobId),
      usageKey(keys, budgetKey ?? "none"),
      keys.batchDone(batch?.id ?? "none"),
    ],
    [
      token,
      JSON.stringify(record),
      ttl,
      keys.channel,
      batch ? `batch:${batch.id}` : `result:${record.jobId}`,
      batch ? record.jobId : "",
      budgetKey ? record.tokens.total : -1,
      record.tokens.completion,
      USAGE_TTL_SECONDS,
    ],
  );
  return outcome as WriteOutcome;
}

interface FailedCall {
  budgetKey: string;
  error: unknown;
  verdict: Verdict;
  batchId: string | undefined;
}

/** Counts a call that brought no result: the provider saw it all the same. */
export async function countFailedCall(
  redis: Redis,
  keys: RedisKeys,
  { budgetKey, error, verdict, batchId }: FailedCall,
): Promise<void> {
  const usage = usageKey(keys, budgetKey);
  const isLimit = error instanceof RateLimitError || error instanceof OverloadedError;
  const isRepeated = verdict.kind === "snooze" || verdict.kind === "retry";
  const counter = isLimit ? "rateLimited" : isRepeated ? "retries" : undefined;
  const pipeline = redis.pipeline().hincrby(usage, counter === "rateLimited" ? counter : "requests", 1);
  pipeline.expire(usage, USAGE_TTL_SECONDS);
  if (batchId && counter) pipeline.hincrby(keys.batch(batchId), counter, 1);
  await pipeline.exec();
}

/** What stands before an attempt: a finished result, or a reason not to start. */
export type Standing =
  | { kind: "clear"; hasCostLimit: boolean }
  | { kind: "acknowledged" }
  | { kind: "finished"; record: ResultRecord }
  | { kind: "cancelled" }
  | { kind: "held"; reason: string };

/** One round trip that every attempt makes before it pays. */
export async function lookUp(
  redis: Redis,
  keys: RedisKeys,
  jobId: string,
  batchId: string | undefined,
): Promise<Standing> {
  const pipeline = redis.pipeline().get(keys.result(jobId));
  if (batchId)
    pipeline.hmget(keys.batch(batchId), "stop", "status", "maxCostUsd").exists(keys.batchLease(batchId));
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
  return { kind: "clear", hasCostLimit: typeof batch?.[2] === "string" };
}
