import { z } from "zod";
import type { CompletionPayload } from "../shared/catalog.ts";
import { parseJson } from "../shared/json.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { modelKeyOf, type ResultRecord } from "../shared/records.ts";
import { RESULT_TTL_SECONDS, type Retention } from "../shared/retention.ts";
import { SPEND_BY_KEY } from "./api-key.ts";
import { REPORT_ROW } from "./batch-done-list.ts";
import { jobKey } from "./bullmq-internals.ts";
import { COUNT_END, END_COUNT_ARGS, END_COUNT_KEYS, endCount } from "./error-counts.ts";
import { ANNOUNCE } from "./outbox.ts";
import type { JobFigures } from "./outbox-event.ts";
import { Script } from "./script.ts";
import { STANDING } from "./standing-record.ts";
import type { Store } from "./store.ts";
import { recordText } from "./stored-record.ts";
import { NOTIFY } from "./topics.ts";

/*
 * What a batch has bought in provider batches. `:batch:<id>:lanes` is a hash: buy id → JSON of the buy.
 * `:batch:<id>:lane-rows` is a hash: job id of a row → the buy that has it, which is the row's fence: as long as it stands
 * nobody else may send the row, and only that buy may record it.
 *
 * | a row      | in `lane-rows` | what changes it                                                                   |
 * |------------|----------------|-----------------------------------------------------------------------------------|
 * | not bought | no field       | `intendBuy` takes it, unless it has a record or BullMQ has its job                |
 * | bought     | the buy's id   | `recordRow` writes what the buy brought for it; `releaseRows`, when that was      |
 * |            |                | nothing that is paid                                                              |
 *
 * | a buy      | what it means                                    | what changes it                                |
 * |------------|--------------------------------------------------|------------------------------------------------|
 * | `intended` | its rows are taken; nothing costs money yet      | `saveBuy`, before the provider is asked        |
 * | `creating` | the provider may have made its batch, or not     | `saveBuy`, with the provider's id              |
 * | `created`  | the provider has it                              | `endBuy`, when all its rows are told           |
 *
 * All is the batch's row sender's, which holds its lease.
 */

const TTL_SECONDS = 40 * 86_400;

const buySchema = z.object({
  v: z.literal(1),
  id: z.string(),
  state: z.enum(["intended", "creating", "created"]),
  entry: z.string(),
  model: z.string(),
  /** All its requests go to one. */
  endpoint: z.string(),
  requests: z.number(),
  /** Prompt tokens of them all, which the provider's pool has to have room for. */
  tokens: z.number().default(0),
  /** Epoch milliseconds before which nothing was sent. */
  since: z.number(),
  /** The provider's names of the uploaded requests, of the account's newest batch before it was asked for, and of the batch. */
  file: z.string().optional(),
  after: z.string().optional(),
  batchId: z.string().optional(),
  /** Since when it is not known whether the provider has made it, or has it still. */
  unknownSince: z.number().optional(),
  /** When its calls have to go another way; of a batch's rows the batch says it. */
  until: z.number().optional(),
  /** When it was asked to end. */
  cancelledAt: z.number().optional(),
  /** As the provider told last. */
  seen: z
    .object({ state: z.string(), total: z.number(), done: z.number(), expiresAt: z.number() })
    .optional(),
});
/** A group of a batch's rows that is, or will be, a batch of their provider. */
export type LaneBuy = z.infer<typeof buySchema>;

/** Returns the buys of a batch, and the rows that they have: job id → buy id. */
export async function readBuys(
  { redis, keys }: Store,
  batchId: string,
): Promise<{ buys: LaneBuy[]; rows: Map<string, string> }> {
  const [buys, rows] = await Promise.all([
    redis.hvals(keys.laneBuys(batchId)),
    redis.hgetall(keys.laneRows(batchId)),
  ]);
  const readable = buys.flatMap((text) => buySchema.safeParse(parseJson(text)).data ?? []);
  return { buys: readable, rows: new Map(Object.entries(rows)) };
}

/** Lua of the scripts that take something for a buy: writes the buy down, unless it got nothing. Keys: `buys`, `rows`. Arguments: `buy`, `json`. */
export const KEEP_BUY = `
  local function keepBuy(taken, ttlSeconds)
    if #taken == 0 then return taken end
    redis.call('HSETNX', buys, buy, json)
    redis.call('EXPIRE', buys, ttlSeconds)
    redis.call('EXPIRE', rows, ttlSeconds)
    return taken
  end
`;

/**
 * Takes rows for a buy. Keys: the buys, the rows; then of each row its record and BullMQ's job. Arguments: the buy's id and JSON; then the job
 * ids. Returns: the job ids that are the buy's now. Called by `intendBuy`. Fence: a row of another buy, one with a paid record and one
 * with a job are left alone; a repeated call changes nothing.
 */
const INTEND = new Script({
  keys: ["buys", "rows"],
  args: { buy: "text", json: "text" },
  moreKeys: "recordsAndJobs",
  moreArgs: "jobIds",
  lua: `${STANDING}${KEEP_BUY}
    local taken = {}
    for i, jobId in ipairs(jobIds) do
      local owner = redis.call('HGET', rows, jobId)
      local record = standingRecord(recordsAndJobs[2 * i - 1])
      local isFree = not owner and redis.call('EXISTS', recordsAndJobs[2 * i]) == 0
        and (not record or record.status == 'failed')
      if isFree then redis.call('HSET', rows, jobId, buy) end
      if isFree or owner == buy then taken[#taken + 1] = jobId end
    end
    return keepBuy(taken, ${TTL_SECONDS})
  `,
});

/** Takes rows for a buy; returns the job ids of those that are its own now. */
export async function intendBuy(
  store: Store,
  batchId: string,
  queue: string,
  buy: LaneBuy,
  jobIds: readonly string[],
): Promise<string[]> {
  const { redis, keys } = store;
  const taken = await INTEND.run(
    redis,
    { buys: keys.laneBuys(batchId), rows: keys.laneRows(batchId) },
    { buy: buy.id, json: JSON.stringify(buy) },
    { keys: jobIds.flatMap((id) => [keys.result(id), jobKey(store, queue, id)]), args: jobIds },
  );
  return taken as string[];
}

/** Writes where a buy stands. */
export async function saveBuy({ redis, keys }: Store, batchId: string, buy: LaneBuy): Promise<void> {
  await redis.hset(keys.laneBuys(batchId), buy.id, JSON.stringify(buy));
}

/** Forgets a buy whose rows are all told. */
export async function endBuy({ redis, keys }: Store, batchId: string, buyId: string): Promise<void> {
  await redis.hdel(keys.laneBuys(batchId), buyId);
}

/** Gives rows back that a buy brought nothing for: the next lane may have them. Only the buy's own rows are touched. */
const RELEASE = new Script({
  keys: ["rows"],
  args: { buy: "text" },
  moreArgs: "jobIds",
  lua: `
    for _, jobId in ipairs(jobIds) do
      if redis.call('HGET', rows, jobId) == buy then redis.call('HDEL', rows, jobId) end
    end
  `,
});

/** Gives rows of a buy back that cost nothing. */
export async function releaseRows(
  { redis, keys }: Store,
  batchId: string,
  buyId: string,
  jobIds: readonly string[],
): Promise<void> {
  if (jobIds.length > 0)
    await RELEASE.run(redis, { rows: keys.laneRows(batchId) }, { buy: buyId }, { args: jobIds });
}

/**
 * Makes the outcome of a bought row final, with all that goes with it, as the script of an online call does (result-record.ts).
 * Keys: the rows, the record, the done-list, the key of the API that pays, the outbox, and those of `COUNT_END`. Arguments: the buy; the
 * record as JSON, its life, of its fields `jobId`, `status`, `costUsd`; `batchId`, `channel`; for the outbox the tenant and the figures;
 * and those of `COUNT_END`. Returns: `written`, `recorded` when a paid record stood, `fenced` when the row is not the buy's.
 * Called by `recordRow`. Fence: the row's buy; a second reading of the same results writes nothing.
 */
const RECORD = new Script({
  keys: ["rows", "result", "done", "apiKey", "outbox", ...END_COUNT_KEYS],
  args: {
    buy: "text",
    record: "text",
    jobId: "text",
    status: "text",
    costUsd: "number?",
    batchId: "text",
    channel: "text",
    tenant: "text",
    figures: "text",
    ...END_COUNT_ARGS,
  },
  lua: `${COUNT_END}${NOTIFY}${REPORT_ROW}${STANDING}${SPEND_BY_KEY}${ANNOUNCE}
    if redis.call('HGET', rows, jobId) ~= buy then return 'fenced' end
    local before = standingRecord(result)
    redis.call('HDEL', rows, jobId)
    if before and before.status ~= 'failed' then
      reportRow(done, jobId, batchId)
      return 'recorded'
    end
    redis.call('SET', result, record, 'EX', ${RESULT_TTL_SECONDS.batchRow})
    spendByKey(apiKey, costUsd, before)
    countEnd('end', costUsd and costUsd - knownCost(before))
    announce('job', jobId, tenant, status, figures)
    reportRow(done, jobId, batchId)
    return 'written'
  `,
});

interface BoughtRow {
  batchId: string;
  buy: LaneBuy;
  model: ModelRef;
  queue: string;
  record: ResultRecord;
  customId: string;
  line: number;
  retention: Retention;
  owner: Pick<CompletionPayload, "tenant" | "by">;
}

/** Makes the outcome of a bought row final. */
export async function recordRow(
  store: Store,
  { batchId, buy, model, queue, record, customId, line, retention, owner }: BoughtRow,
): Promise<"written" | "recorded" | "fenced"> {
  const { redis, keys } = store;
  const { jobId, status, tokens, costUsd, error } = record;
  const place = { model: modelKeyOf(record), queue, tenant: owner.tenant ?? "default" };
  const failure =
    status === "failed" && error
      ? { code: error.code, example: { id: jobId, message: error.message } }
      : undefined;
  const ended = endCount(store, place, retention, failure);
  const figures: JobFigures = {
    ...{ queue, entry: model.entry, model: model.model, by: owner.by, lane: `batch:${buy.batchId ?? ""}` },
    ...{ batchId, customId, line, createdAt: buy.since, attempts: 1, calls: status === "succeeded" ? 1 : 0 },
    ...{ promptTokens: tokens.prompt, cachedTokens: tokens.cached, outputTokens: tokens.completion },
    ...{ isEstimated: tokens.estimated, costUsd, errorCode: error?.code },
  };
  const outcome = await RECORD.run(
    redis,
    {
      rows: keys.laneRows(batchId),
      result: keys.result(jobId),
      done: keys.batchDone(batchId),
      apiKey: keys.apiKey(owner.by ?? "none"),
      outbox: keys.outbox,
      ...ended.keys,
    },
    {
      buy: buy.id,
      record: await recordText(store, record),
      jobId,
      status,
      costUsd: costUsd ?? undefined,
      batchId,
      channel: keys.channel,
      tenant: owner.tenant ?? "",
      figures: JSON.stringify(figures),
      ...ended.args,
    },
  );
  return outcome as "written" | "recorded" | "fenced";
}
