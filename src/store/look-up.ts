import { ACKNOWLEDGED, type ResultRecord } from "../shared/records.ts";
import { modelStopField } from "./batch.ts";
import { GroupedScript } from "./grouped-script.ts";
import { convictionIn, type Refusal } from "./refused-rows.ts";
import type { Store } from "./store.ts";
import { openRecord } from "./stored-record.ts";

/** What stands before an attempt: a finished result, or a reason not to start. */
export type Standing =
  /** `failedAt`: when it failed, an operator has it retried. `isPaused`: its provider asked for a long pause. */
  | { kind: "clear"; hasCostLimit: boolean; failedAt: number | undefined; isPaused: boolean }
  | { kind: "acknowledged" }
  | { kind: "finished"; record: ResultRecord }
  | { kind: "cancelled" }
  /** The provider refused it before: whose fault that is is not known yet, or it is the row's own. */
  | { kind: "refused"; conviction: Refusal | undefined }
  | { kind: "held"; reason: string };

/** A batch's row: the batch, and the `entry:model` that it goes to. */
interface RowPlace {
  batchId: string;
  modelKey: string;
}

/**
 * Reads what stands before an attempt. Keys: the record; of a row its batch, the batch's lease, the refused rows of its
 * model; the pauses of the model and of its budget. Arguments: the job's id; `batchId`, empty but for rows; the batch's field for a
 * stop of the model. Returns: the record's text, how many pauses there are, and of a row its batch's `stop`, `status`,
 * `maxCostUsd` and the model's stop, whether there is a lease, and what is kept of its refusal. Called by `lookUp`.
 * Fence: none; it only reads.
 */
const LOOK_UP = new GroupedScript({
  keys: ["result", "batch", "lease", "refused", "pause", "pauseOfBudget"],
  args: { jobId: "text", batchId: "text", modelStop: "text" },
  lua: `
    local text, paused = redis.call('GET', result), redis.call('EXISTS', pause, pauseOfBudget)
    if batchId == '' then return {text, paused} end
    local row = redis.call('HMGET', batch, 'stop', 'status', 'maxCostUsd', modelStop)
    return {text, paused, row[1], row[2], row[3], row[4], redis.call('EXISTS', lease), redis.call('HGET', refused, jobId)}
  `,
});

/** Returns what stands before an attempt, which asks before it pays: one round trip. */
export async function lookUp(
  store: Store,
  jobId: string,
  row: RowPlace | undefined,
  pauseIds: readonly string[],
): Promise<Standing> {
  const { redis, keys } = store;
  const { batchId = "", modelKey = "" } = row ?? {};
  const reply = await LOOK_UP.run(
    redis,
    {
      result: keys.result(jobId),
      batch: keys.batch(batchId),
      lease: keys.batchLease(batchId),
      refused: keys.refused(modelKey),
      pause: keys.pause(pauseIds[0] ?? ""),
      pauseOfBudget: keys.pause(pauseIds.at(-1) ?? ""),
    },
    { jobId, batchId, modelStop: modelStopField(modelKey) },
  );
  type Text = string | null;
  const [text, paused, ...ofRow] = reply as [Text, number, Text?, Text?, Text?, Text?, number?, Text?];
  if (text === ACKNOWLEDGED) return { kind: "acknowledged" };
  const record = await openRecord(store, jobId, text);
  if (record?.status === "cancelled") return { kind: "cancelled" };
  if (record?.status === "succeeded") return { kind: "finished", record };
  const [stop, status, maxCostUsd, modelStop, lease, refused] = ofRow;
  if (row) {
    const held = (why: string): Standing => ({ kind: "held", reason: `batch ${batchId} ${why}` });
    if (stop || modelStop) return held("is stopped");
    if (status?.startsWith("cancel")) return held("is cancelled");
    if (!lease) return held("has no runner; run its command again");
    if (refused) return { kind: "refused", conviction: convictionIn(refused) };
  }
  return {
    kind: "clear",
    hasCostLimit: typeof maxCostUsd === "string",
    failedAt: record?.finishedAt,
    isPaused: paused > 0,
  };
}
