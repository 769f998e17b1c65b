import type { Job, Queue } from "bullmq";
import type { CompletionPayload } from "../shared/catalog.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { JobCancelledError } from "../shared/errors.ts";
import { emptyRecord, RESULT_TTL_SECONDS, type ResultRecord } from "../shared/records.ts";
import { isBlobRef, releaseBlob } from "../store/blobs.ts";
import { RedisScript } from "../store/redis-script.ts";
import type { Store } from "../store/store.ts";

/**
 * The record is all there is of a cancellation: every attempt looks for it before it pays. The messages abort a call
 * in flight and wake those who wait.
 */
const CANCEL = new RedisScript(`
  local result, job = KEYS[1], KEYS[2]
  local record, ttl, channel, id = unpack(ARGV)
  local standing = redis.call('GET', result)
  local status = standing and cjson.decode(standing).status
  -- An operator has it retried: BullMQ forgot its failed attempt, or began another one.
  local isRetried = false
  if status == 'failed' and redis.call('EXISTS', job) == 1 and redis.call('HEXISTS', job, 'finishedOn') == 0 then
    local startedAt = redis.call('HGET', job, 'processedOn')
    isRetried = not startedAt or tonumber(startedAt) > cjson.decode(standing).finishedAt
  end
  if status and not isRetried then return status end
  if redis.call('EXISTS', job) == 0 then return 'lost' end
  redis.call('SET', result, record, 'EX', ttl)
  redis.call('PUBLISH', channel, 'cancel:' .. id)
  redis.call('PUBLISH', channel, 'result:' .. id)
  return 'cancelled'
`);

/**
 * Cancels one interactive job, and takes it out of its queue when no worker has it.
 * @returns what has become of the job: an answer that came first stays.
 */
export async function cancelJob(
  store: Store,
  queue: Queue,
  job: Job<CompletionPayload>,
): Promise<ResultRecord["status"] | "lost"> {
  const id = job.id ?? "";
  const error = { ...toErrorRecord(new JobCancelledError()), attempts: job.attemptsMade };
  const record = { ...emptyRecord(id, job.data, "cancelled", job.attemptsMade), error };
  const outcome = (await CANCEL.run(
    store.redis,
    [store.keys.result(id), store.keys.job(queue.name, id)],
    [JSON.stringify(record), RESULT_TTL_SECONDS.succeeded, store.keys.channel, id],
  )) as ResultRecord["status"] | "lost";
  if (outcome !== "cancelled") return outcome;
  await queue.remove(id);
  // A worker that has the job either read its request before, or finds the record first.
  const { request } = job.data;
  if (isBlobRef(request)) await releaseBlob(store, request, id);
  return outcome;
}
