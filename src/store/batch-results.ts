import { ACKNOWLEDGED, type ResultRecord, resultRecordSchema } from "../shared/records.ts";
import { isBlobRef, releaseBlob } from "./blobs.ts";
import { type InlineResult, readAnswerBody } from "./completed-record.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

/** Results per turn: one write, one fsync, one acknowledgement. */
const MAX_GROUP = 500;
/** Until a job whose result is already in the file has left BullMQ's hands. */
const TOMBSTONE_SECONDS = 86_400;

/**
 * Forgets results that are safe in the file. A job that BullMQ has not finished yet could still run again when its
 * worker dies: its record gives way to a mark that says "paid", or stays when Redis is too full to write one. Entries
 * are removed by value, not by position, so that a repeated call (a reply lost with the connection) never drops what
 * was not read.
 */
const ACKNOWLEDGE = new RedisScript(`
  local done = KEYS[1]
  for i, id in ipairs(ARGV) do
    local record, job = KEYS[2 * i], KEYS[2 * i + 1]
    redis.call('LREM', done, 1, id)
    if redis.call('EXISTS', job) == 1 and redis.call('HEXISTS', job, 'finishedOn') == 0 then
      redis.pcall('SET', record, '${ACKNOWLEDGED}', 'EX', ${TOMBSTONE_SECONDS})
    else
      redis.call('DEL', record)
    end
  end
`);

/** Deletes the records that no answer was paid for, marks included: the file has no result of these rows. */
const FORGET_FAILURES = new RedisScript(`
  for _, key in ipairs(KEYS) do
    local record = redis.call('GET', key)
    if record and (record == '${ACKNOWLEDGED}' or cjson.decode(record).status ~= 'succeeded') then
      redis.call('DEL', key)
    end
  end
`);

/** Rows are sent again that have no result in the file: what stands of them in Redis must not end them at once. */
export async function forgetFailures(store: Store, jobIds: readonly string[]): Promise<void> {
  await FORGET_FAILURES.run(
    store.redis,
    jobIds.map((jobId) => store.keys.result(jobId)),
    [],
  );
}

/** The next results on a batch's done-list, oldest first; entries whose record is gone come without one. */
export async function readDoneList(
  store: Store,
  batchId: string,
): Promise<{ jobId: string; record: ResultRecord | undefined }[]> {
  const jobIds = [...new Set(await store.redis.lrange(store.keys.batchDone(batchId), 0, MAX_GROUP - 1))];
  if (jobIds.length === 0) return [];
  const records = await store.redis.mget(jobIds.map((id) => store.keys.result(id)));
  return jobIds.map((jobId, i) => {
    const json = records[i];
    const stored = json && json !== ACKNOWLEDGED;
    return { jobId, record: stored ? resultRecordSchema.parse(JSON.parse(json)) : undefined };
  });
}

/** The record with its answer's body, fetched from its blob when it was too large to lie in the record. */
export async function inlineResult(store: Store, record: ResultRecord): Promise<InlineResult> {
  const { response, ...rest } = record;
  if (!response) return rest;
  const body = await readAnswerBody(store, response.body);
  return { ...rest, response: { ...response, body } };
}

/** Frees what Redis holds of results that are safe in the file. */
export async function acknowledge(
  store: Store,
  batchId: string,
  results: readonly { jobId: string; queue: string; record: ResultRecord | undefined }[],
): Promise<void> {
  const [recorded, empty] = [results.filter(({ record }) => record), results.filter(({ record }) => !record)];
  // Nothing was read of these, so nothing may be forgotten: their job may be about to write its record.
  for (const { jobId } of empty) await store.redis.lrem(store.keys.batchDone(batchId), 1, jobId);
  if (recorded.length === 0) return;
  await ACKNOWLEDGE.run(
    store.redis,
    [
      store.keys.batchDone(batchId),
      ...recorded.flatMap(({ jobId, queue }) => [store.keys.result(jobId), store.keys.job(queue, jobId)]),
    ],
    recorded.map(({ jobId }) => jobId),
  );
  for (const { jobId, record } of recorded) {
    const body = record?.response?.body;
    if (isBlobRef(body)) await releaseBlob(store, body, `result:${jobId}`);
  }
}
