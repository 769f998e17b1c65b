import { z } from "zod";
import { errorRecordSchema } from "../shared/error-record.ts";
import { parseJson } from "../shared/json.ts";
import { modelStopField } from "./batch.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY, publish } from "./topics.ts";

/*
 * The rows of batches that a provider refused as it refuses a whole account (401, 402, 403, 404), one hash per
 * `entry:model`, `:refused:<key>`: job id → JSON of a `RefusedRow`. One refusal does not tell whose fault it is, so the
 * row waits for evidence:
 *
 * | from            | to                | by              | evidence                                                  |
 * |-----------------|-------------------|-----------------|-----------------------------------------------------------|
 * | none            | held              | `holdRow`       | –                                                         |
 * | held            | answered `beside` | `writeRecord`   | a call succeeded that was sent after the refused one, but |
 * |                 |                   |                 | before its refusal came: it may have been the earlier one |
 * | held, `beside`  | answered `after`  | `writeRecord`   | a call succeeded that was sent after the refusal came     |
 * | `beside`        | answered `after`  | `convictRows`   | no other row of the batch is left for this model          |
 * | held            | the batch's stop  | `holdRow`       | it is the third row in question                           |
 * | held            | the batch's stop  | `stopModel`     | no other row of the batch is left for this model          |
 * | answered `after`| none              | `writeRecord`   | the row has failed, with what the provider said           |
 * | any             | none              | `forgetRefused` | the batch starts anew                                     |
 */

const LIFE_SECONDS = 86_400;
/** So many different rows refused, and nothing answered since: it is the account. */
export const MAX_HELD = 3;

const refusalSchema = z.object({ error: errorRecordSchema, providerMessage: z.string().optional() });
/** Why the provider refused a row. */
export type Refusal = z.infer<typeof refusalSchema>;

const refusedRowSchema = z.object({
  batchId: z.string(),
  /** Epoch milliseconds by the clock of Redis: when the call was sent, and when its refusal came. */
  sentAt: z.number(),
  refusedAt: z.number(),
  answered: z.enum(["beside", "after"]).optional(),
  /** JSON of a `Refusal`. */
  refusal: z.string(),
});
type RefusedRow = z.infer<typeof refusedRowSchema>;

/**
 * Lua: `answerRefused(refused, sentAgoMs)` notes on the rows refused before that a call sent so long ago has succeeded.
 */
export const ANSWER_REFUSED = `
  local function answerRefused(refused, sentAgoMs)${NOW}
    local sentAt = now - sentAgoMs
    local rows = redis.call('HGETALL', refused)
    for i = 1, #rows, 2 do
      local row = cjson.decode(rows[i + 1])
      local answered = sentAt > row.refusedAt and 'after' or sentAt > row.sentAt and 'beside'
      if answered and row.answered ~= 'after' and row.answered ~= answered then
        row.answered = answered
        redis.call('HSET', refused, rows[i], cjson.encode(row))
      end
    end
  end
`;

/**
 * Keeps a refused row until there is evidence, or stops the batch's rows of the model.
 * Keys: the refused rows of the model, the batch. Arguments: the job, its batch, the batch's field for the stop, how
 * long ago the call was sent and its refusal came, the refusal and its error as JSON, the namespace's channel.
 * Returns: `held`, or `stopped` when the batch's rows of this model are not to go on. Called by the worker whose call
 * was refused. Fence: none: a row that is held twice counts once.
 */
const HOLD = new Script({
  keys: ["refused", "batch"],
  args: {
    jobId: "text",
    batchId: "text",
    stopField: "text",
    sentAgoMs: "number",
    refusedAgoMs: "number",
    refusal: "text",
    error: "text",
    channel: "text",
  },
  lua: `${NOW}${NOTIFY}
    if redis.call('HEXISTS', batch, 'stop') + redis.call('HEXISTS', batch, stopField) > 0 then return 'stopped' end
    local row = {
      batchId = batchId, sentAt = now - sentAgoMs, refusedAt = now - refusedAgoMs, refusal = refusal,
    }
    redis.call('HSET', refused, jobId, cjson.encode(row))
    redis.call('EXPIRE', refused, ${LIFE_SECONDS})
    local held = 0
    for _, text in ipairs(redis.call('HVALS', refused)) do
      local other = cjson.decode(text)
      if other.batchId == batchId and other.answered ~= 'after' then held = held + 1 end
    end
    if held < ${MAX_HELD} then return 'held' end
    redis.call('HSET', batch, stopField, error)
    notify('batch', batchId)
    notify('stop', batchId)
    return 'stopped'
  `,
});

/** Keeps a refused row until there is evidence whose fault it is; `stopped`: its batch's rows of the model are not to go on. */
export async function holdRow(
  store: Store,
  modelKey: string,
  row: { jobId: string; batchId: string; sentAgoMs: number; refusedAgoMs: number; refusal: Refusal },
): Promise<"held" | "stopped"> {
  const { keys } = store;
  const { refusal, sentAgoMs, refusedAgoMs, ...names } = row;
  const outcome = await HOLD.run(
    store.redis,
    { refused: keys.refused(modelKey), batch: keys.batch(row.batchId) },
    {
      ...names,
      stopField: modelStopField(modelKey),
      sentAgoMs: Math.round(sentAgoMs),
      refusedAgoMs: Math.round(refusedAgoMs),
      refusal: JSON.stringify(refusal),
      error: JSON.stringify(refusal.error),
      channel: keys.channel,
    },
  );
  return outcome as "held" | "stopped";
}

/** A refused row, as the sender of its batch sees it. */
export interface HeldRow {
  jobId: string;
  answered: RefusedRow["answered"];
  refusal: Refusal;
}

/** Returns the batch's rows that the provider of the model refused and that have not failed yet. */
export async function readRefused(store: Store, modelKey: string, batchId: string): Promise<HeldRow[]> {
  const rows = await store.redis.hgetall(store.keys.refused(modelKey));
  return Object.entries(rows).flatMap(([jobId, text]) => {
    const row = parseRow(text);
    if (row?.batchId !== batchId) return [];
    return { jobId, answered: row.answered, refusal: refusalOf(row) };
  });
}

/** Takes weak evidence for enough: these rows are at fault, and a worker fails them at its next look. */
export async function convictRows(store: Store, modelKey: string, rows: readonly HeldRow[]): Promise<void> {
  const key = store.keys.refused(modelKey);
  for (const { jobId } of rows) {
    const row = parseRow(await store.redis.hget(key, jobId));
    if (row) await store.redis.hset(key, jobId, JSON.stringify({ ...row, answered: "after" }));
  }
}

/** Stops the batch's rows of a model: all that are left of them were refused. */
export async function stopModel(
  store: Store,
  batchId: string,
  modelKey: string,
  { error }: Refusal,
): Promise<void> {
  const messages = store.redis
    .multi()
    .hsetnx(store.keys.batch(batchId), modelStopField(modelKey), JSON.stringify(error));
  await publish(messages, store.keys, "batch", batchId).exec();
}

/** Deletes what an earlier run of the batch left. */
export async function forgetRefused(store: Store, modelKey: string, batchId: string): Promise<void> {
  const rows = await readRefused(store, modelKey, batchId);
  if (rows.length > 0)
    await store.redis.hdel(store.keys.refused(modelKey), ...rows.map(({ jobId }) => jobId));
}

/** Returns whose fault a refusal was, by the text of its row: the row's; undefined while that is not known. */
export function convictionIn(text: string): Refusal | undefined {
  const row = parseRow(text);
  return row?.answered === "after" ? refusalOf(row) : undefined;
}

function parseRow(text: string | null): RefusedRow | undefined {
  return refusedRowSchema.safeParse(parseJson(text ?? "")).data;
}

function refusalOf({ refusal }: RefusedRow): Refusal {
  return refusalSchema.parse(JSON.parse(refusal));
}
