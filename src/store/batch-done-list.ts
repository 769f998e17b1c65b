import { toErrorRecord } from "../shared/error-record.ts";
import { GlueError } from "../shared/errors.ts";
import { ACKNOWLEDGED, emptyRecord, type ResultRecord } from "../shared/records.ts";
import { isBlobRef, releaseBlob } from "./blobs.ts";
import { JOB_TIMES, jobKey } from "./bullmq-internals.ts";
import { Script } from "./script.ts";
import { isKeyMissing } from "./sealing.ts";
import type { Store } from "./store.ts";
import { openRecord } from "./stored-record.ts";

/*
 * A batch's done-list: a list at `batch:<id>:done` of the jobs whose record the row sender has not taken into the file
 * yet.
 *
 * | from   | to     | by                | who                                                                |
 * |--------|--------|-------------------|--------------------------------------------------------------------|
 * | absent | listed | `writeRecord`     | the row's worker, with its record (`REPORT_ROW`, result-record.ts) |
 * | listed | absent | `acknowledge`     | the row sender, once the result is safe in the file                |
 * | any    | none   | `forgetBatchWork` | the row sender, at the end of the batch (batch.ts)                 |
 */

/** Results per turn: one write, one fsync, one acknowledgement. */
const MAX_GROUP = 500;
/** Until a job whose result is already in the file has left BullMQ's hands. */
const ACKNOWLEDGED_TTL_SECONDS = 86_400;

/** Lua: `reportRow(done, jobId, batchId)` lists a row; the first of a list wakes the row sender. It needs `NOTIFY`. */
export const REPORT_ROW = `
  local function reportRow(done, jobId, batchId)
    if redis.call('RPUSH', done, jobId) == 1 then notify('batch', batchId) end
  end
`;

/** Returns the next results, oldest first; entries whose record is gone come without one. */
export async function readDoneList(
  store: Store,
  batchId: string,
): Promise<{ jobId: string; record: ResultRecord | undefined }[]> {
  const jobIds = [...new Set(await store.redis.lrange(store.keys.batchDone(batchId), 0, MAX_GROUP - 1))];
  if (jobIds.length === 0) return [];
  const records = await store.redis.mget(jobIds.map((id) => store.keys.result(id)));
  return Promise.all(
    jobIds.map(async (jobId, i) => ({ jobId, record: await readable(store, jobId, records[i] ?? null) })),
  );
}

/** A record that cannot be read stands for a paid call all the same: its row fails, and is not paid again unasked. */
async function readable(store: Store, jobId: string, text: string | null): Promise<ResultRecord | undefined> {
  try {
    return await openRecord(store, jobId, text);
  } catch (error) {
    // Who has the key can read it.
    if (!(error instanceof GlueError) || isKeyMissing(error)) throw error;
    const nameless = { provider: { entry: "unknown", fingerprint: "" }, model: "unknown" };
    const failed = emptyRecord(jobId, nameless, "failed");
    return { ...failed, error: { ...toErrorRecord(error), attempts: failed.attempts } };
  }
}

/**
 * Forgets results that are safe in the file. A job that BullMQ has not finished yet could still run again when its
 * worker dies: its record gives way to the mark that says "paid", or stays when Redis is too full to write one.
 * Keys: the done-list; then each row's record and BullMQ's job. Arguments: the rows' job ids. Returns nothing.
 * Called by `acknowledge`, for the row sender, which holds the batch's lease. Fence: entries are removed by value, and
 * at once when they are the head of the list, so that a repeated call (a reply lost with the connection) never drops what was not read.
 */
const ACKNOWLEDGE = new Script({
  keys: ["done"],
  moreKeys: "recordsAndJobs",
  moreArgs: "jobIds",
  lua: `${JOB_TIMES}
    for i, jobId in ipairs(jobIds) do
      local record, job = recordsAndJobs[2 * i - 1], recordsAndJobs[2 * i]
      if isUnfinished(job) then
        redis.pcall('SET', record, '${ACKNOWLEDGED}', 'EX', ${ACKNOWLEDGED_TTL_SECONDS})
      else
        redis.call('DEL', record)
      end
    end
    local listed = redis.call('LRANGE', done, 0, #jobIds - 1)
    local isHead = #listed == #jobIds
    for i = 1, #listed do isHead = isHead and listed[i] == jobIds[i] end
    if isHead then redis.call('LTRIM', done, #jobIds, -1) return end
    for _, jobId in ipairs(jobIds) do redis.call('LREM', done, 1, jobId) end
  `,
});

/** Frees what Redis holds of results that are safe in the file. */
export async function acknowledge(
  store: Store,
  batchId: string,
  results: readonly { jobId: string; queue: string; record: ResultRecord | undefined }[],
): Promise<void> {
  const [recorded, empty] = [results.filter(({ record }) => record), results.filter(({ record }) => !record)];
  const done = store.keys.batchDone(batchId);
  // Nothing was read of these, so nothing may be forgotten: their job may be about to write its record.
  for (const { jobId } of empty) await store.redis.lrem(done, 1, jobId);
  if (recorded.length === 0) return;
  const keys = recorded.flatMap(({ jobId, queue }) => [
    store.keys.result(jobId),
    jobKey(store, queue, jobId),
  ]);
  await ACKNOWLEDGE.run(store.redis, { done }, {}, { keys, args: recorded.map(({ jobId }) => jobId) });
  for (const { jobId, record } of recorded) {
    const body = record?.response?.body;
    if (isBlobRef(body)) await releaseBlob(store, body, `result:${jobId}`);
  }
}
