import { z } from "zod";
import type { ChatRequest } from "../shared/chat.ts";
import { type ErrorRecord, errorRecordSchema } from "../shared/error-record.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { parseJson } from "../shared/json.ts";
import { wireOptionsSchema } from "../shared/wire-options.ts";
import { jobKey } from "./bullmq-internals.ts";
import { type FinishedCall, finishedCallSchema } from "./finished-call.ts";
import { KEEP_BUY, type LaneBuy, readBuys } from "./lane-buy.ts";
import { IS_CANCELLED } from "./result-record.ts";
import { Script } from "./script.ts";
import { isKeyMissing } from "./sealing.ts";
import type { Store } from "./store.ts";

/*
 * Provider calls of jobs that are to be bought in provider batches. A job that asks for one is delayed meanwhile, and takes what was
 * brought when it is woken: it goes on as if it had made the call itself. All calls of an entry's account are one pool:
 * `:lane-calls:<entry>` is a hash: call id → JSON. Buys and fences are those of a batch (lane-buy.ts) with the id `calls:<entry>`.
 *
 * | a call  | pool | `lane-rows`  | `:lane-answer:<id>` | what changes it                                                           |
 * |---------|------|--------------|---------------------|---------------------------------------------------------------------------|
 * | none    | –    | –            | –                   | `askLane` of its job's worker                                             |
 * | waiting | JSON | –            | –                   | `takeCalls` for a buy; `tellCall` that it goes online; `askLane` when its |
 * |         |      |              |                     | time is up takes it out: it goes online                                   |
 * | bought  | JSON | the buy's id | –                   | `tellCall`; `releaseRows` (lane-buy.ts): it waits again                   |
 * | told    | –    | –            | JSON                | `forgetCalls`, when its job has its record; else it goes after 30 days    |
 *
 * `:lane-told:<entry>` has the calls that were told until their jobs are awake: whoever works the pool next wakes them.
 * The pool is worked by one process, which holds the lease of `calls:<entry>`.
 */

/** Why a job is delayed whose call is in a pool; its host looks for it. */
export const WAITS_FOR_LANE = "its call waits for a provider batch";

const TTL_SECONDS = 30 * 86_400;

const laneCallSchema = z.object({
  v: z.literal(1),
  id: z.string(),
  jobId: z.string(),
  queue: z.string(),
  model: z.string(),
  wire: wireOptionsSchema.optional(),
  /** Epoch milliseconds: since when it waits, and when it has to go another way. */
  since: z.number(),
  until: z.number(),
});
/** A call that is to be bought. */
export type LaneCall = z.infer<typeof laneCallSchema>;

const toldSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("call"), call: finishedCallSchema }),
  z.object({ kind: z.literal("error"), error: errorRecordSchema }),
  /** Nothing was brought, and nothing is paid: it goes online. */
  z.object({ kind: z.literal("free"), reason: z.string() }),
]);
/** What was brought for a call. */
export type Told =
  | { kind: "call"; call: FinishedCall }
  | { kind: "error"; error: ErrorRecord }
  | { kind: "free"; reason: string };

const REQUEST_KIND = "lane request";
const ANSWER_KIND = "lane answer";

/** @throws GlueError `encryption_key_missing`; what is damaged is undefined */
async function readTold({ sealing }: Store, callId: string, text: string): Promise<Told | undefined> {
  const json = await sealing.open(ANSWER_KIND, callId, text).catch((error) => {
    if (isKeyMissing(error)) throw error;
    return "null";
  });
  return toldSchema.safeParse(parseJson(json)).data;
}

/** Returns what stands for a batch's id where an entry's calls are bought. */
export function callsOf(entry: string): string {
  return `calls:${entry}`;
}

/**
 * Asks for a call. Keys: the pool, the fences, the answer, the request. Arguments: the call's `id` and JSON, the request as JSON; whether its
 * time `isOver`. Returns: {'told', text}, {'bought'}, {'waiting'} or {'over'}. Called by `askLane`, by the worker that has the job.
 * Fence: none; asking again changes nothing. Once its time is over a call that nobody has bought is never bought.
 */
const ASK = new Script({
  keys: ["calls", "rows", "answer", "request"],
  args: { id: "text", json: "text", body: "text", isOver: "flag" },
  lua: `
    local told = redis.call('GET', answer)
    if told then return {'told', told} end
    if redis.call('HEXISTS', rows, id) == 1 then return {'bought'} end
    if isOver then
      redis.call('HDEL', calls, id)
      redis.call('DEL', request)
      return {'over'}
    end
    if redis.call('HSETNX', calls, id, json) == 1 then redis.call('SET', request, body, 'EX', ${TTL_SECONDS}) end
    redis.call('EXPIRE', calls, ${TTL_SECONDS})
    return {'waiting'}
  `,
});

/** Asks for a call to be bought, or what became of it. @throws GlueError `corrupt_data` */
export async function askLane(
  store: Store,
  entry: string,
  { call, request, isOver }: { call: LaneCall; request: ChatRequest; isOver: boolean },
): Promise<{ kind: "waiting" | "bought" | "over" } | { kind: "told"; told: Told }> {
  const { redis, keys, sealing } = store;
  const body = await sealing.seal(REQUEST_KIND, call.id, JSON.stringify(request));
  const [kind, text] = (await ASK.run(
    redis,
    {
      calls: keys.laneCalls(entry),
      rows: keys.laneRows(callsOf(entry)),
      answer: keys.laneAnswer(call.id),
      request: keys.laneRequest(call.id),
    },
    { id: call.id, json: JSON.stringify(call), body, isOver },
  )) as ["told", string] | ["waiting" | "bought" | "over"];
  // An answer that cannot be read is none that could be had again: the call goes online.
  const unreadable: Told = { kind: "free", reason: "its answer is damaged" };
  return kind === "told" ? { kind, told: (await readTold(store, call.id, text)) ?? unreadable } : { kind };
}

/** What an entry's pool has. `rows`: call id → the buy that has it. `told`: calls whose jobs are to be woken. */
interface CallPool {
  calls: Map<string, LaneCall>;
  buys: LaneBuy[];
  rows: Map<string, string>;
  told: LaneCall[];
}

/** Returns what an entry's pool has now. */
export async function readCalls(store: Store, entry: string): Promise<CallPool> {
  const { redis, keys } = store;
  const [calls, told, bought] = await Promise.all([
    redis.hvals(keys.laneCalls(entry)),
    redis.hvals(keys.laneTold(entry)),
    readBuys(store, callsOf(entry)),
  ]);
  return {
    ...bought,
    calls: new Map(toCalls(calls).map((call) => [call.id, call])),
    told: toCalls(told),
  };
}

function toCalls(texts: readonly string[]): LaneCall[] {
  return texts.flatMap((text) => laneCallSchema.safeParse(parseJson(text)).data ?? []);
}

/** The call's job is awake. */
export async function endCall({ redis, keys }: Store, entry: string, callId: string): Promise<void> {
  await redis.hdel(keys.laneTold(entry), callId);
}

/** Returns the requests of calls, in their order; undefined for one that is gone. */
export async function readRequests(
  { redis, keys, sealing }: Store,
  callIds: readonly string[],
): Promise<(ChatRequest | undefined)[]> {
  if (callIds.length === 0) return [];
  const texts = await redis.mget(...callIds.map((id) => keys.laneRequest(id)));
  const opened = await Promise.all(
    texts.map((text, n) => sealing.openMaybe(REQUEST_KIND, callIds[n] ?? "", text)),
  );
  return opened.map((text) => (text === null ? undefined : (parseExactly(text) as ChatRequest)));
}

/**
 * Takes calls for a buy. Keys: the pool, the fences, the buys; then of each call its job's record and BullMQ's job. Arguments: the buy's id and
 * JSON; then the call ids. Returns: those that are the buy's now. Called by `takeCalls`, by the pool's host. Fence: a call of another
 * buy is left alone, one whose job was cancelled or is gone leaves the pool; a repeated call changes nothing.
 */
const TAKE = new Script({
  keys: ["calls", "rows", "buys"],
  args: { buy: "text", json: "text" },
  moreKeys: "recordsAndJobs",
  moreArgs: "ids",
  lua: `${IS_CANCELLED}${KEEP_BUY}
    local taken = {}
    for i, id in ipairs(ids) do
      local owner = redis.call('HGET', rows, id)
      if not owner and redis.call('HEXISTS', calls, id) == 1 then
        if isCancelled(recordsAndJobs[2 * i - 1]) or redis.call('EXISTS', recordsAndJobs[2 * i]) == 0 then
          redis.call('HDEL', calls, id)
        else
          redis.call('HSET', rows, id, buy)
          owner = buy
        end
      end
      if owner == buy then taken[#taken + 1] = id end
    end
    return keepBuy(taken, ${TTL_SECONDS})
  `,
});

/** Takes calls for a buy; returns the ids of those that are its own now. */
export async function takeCalls(
  store: Store,
  entry: string,
  buy: LaneBuy,
  calls: readonly LaneCall[],
): Promise<string[]> {
  const { redis, keys } = store;
  const owner = callsOf(entry);
  const taken = await TAKE.run(
    redis,
    { calls: keys.laneCalls(entry), rows: keys.laneRows(owner), buys: keys.laneBuys(owner) },
    { buy: buy.id, json: JSON.stringify(buy) },
    {
      keys: calls.flatMap(({ jobId, queue }) => [keys.result(jobId), jobKey(store, queue, jobId)]),
      args: calls.map(({ id }) => id),
    },
  );
  return taken as string[];
}

/**
 * Writes what was brought for a call. Keys: the pool, the fences, the calls that were told, the answer, the request. Arguments: the `buy`, empty for a call that waits;
 * the call's `id`; the answer as JSON. Returns: 1, or 0 when the call is not the buy's. Called by `tellCall`, by the pool's host.
 * Fence: the call's buy; a second reading of the same results writes nothing.
 */
const TELL = new Script({
  keys: ["calls", "rows", "told", "answer", "request"],
  args: { buy: "text", id: "text", json: "text" },
  lua: `
    local call = redis.call('HGET', calls, id)
    if (redis.call('HGET', rows, id) or '') ~= buy or not call then return 0 end
    redis.call('HDEL', calls, id)
    redis.call('HDEL', rows, id)
    redis.call('HSET', told, id, call)
    redis.call('EXPIRE', told, ${TTL_SECONDS})
    redis.call('DEL', request)
    redis.call('SET', answer, json, 'EX', ${TTL_SECONDS})
    return 1
  `,
});

/** Tells a call what was brought for it. @param buyId the buy that has it; absent: it waits. False when it does not have it */
export async function tellCall(
  { redis, keys, sealing }: Store,
  entry: string,
  callId: string,
  told: Told,
  buyId = "",
): Promise<boolean> {
  const reply = await TELL.run(
    redis,
    {
      calls: keys.laneCalls(entry),
      rows: keys.laneRows(callsOf(entry)),
      told: keys.laneTold(entry),
      answer: keys.laneAnswer(callId),
      request: keys.laneRequest(callId),
    },
    { buy: buyId, id: callId, json: await sealing.seal(ANSWER_KIND, callId, JSON.stringify(told)) },
  );
  return reply === 1;
}

/** Forgets what was brought for calls whose job has its record. */
export async function forgetCalls({ redis, keys }: Store, callIds: readonly string[]): Promise<void> {
  if (callIds.length > 0) await redis.del(...callIds.map((id) => keys.laneAnswer(id)));
}

/** Returns whether an entry's pool has anything. */
export async function hasCalls({ redis, keys }: Store, entry: string): Promise<boolean> {
  return (await redis.exists(keys.laneCalls(entry), keys.laneTold(entry), keys.laneBuys(callsOf(entry)))) > 0;
}
