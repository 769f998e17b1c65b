import { repliesOf } from "./redis.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The stream `:outbox:history` from the side of its reader (its writers: outbox.ts). One consumer group, `sql`, with one consumer,
 * `writer`: whoever has the lease at `:outbox:history:lease` reads in its name, what its predecessor read and did not acknowledge first.
 *
 * | entry              | to                 | by                   | who                          |
 * |--------------------|--------------------|----------------------|------------------------------|
 * | written            | read               | `readHistoryEntries` | the process with the lease   |
 * | read               | gone               | `forgetEntries`      | the same, after its commit   |
 * | written, read      | gone, unread       | –                    | the stream's limit           |
 */

const GROUP = "sql";
const CONSUMER = "writer";

export interface StreamEntry {
  id: string;
  /** Names and values in turn. */
  fields: string[];
}

/**
 * Takes the lease, or renews it. Keys: the lease. Arguments: the holder's `token`, the life of the lease. Returns: 1 when the holder has it, else
 * 0. Called by `holdHistoryLease`. Fence: the lease itself.
 */
const HOLD = new Script({
  keys: ["lease"],
  args: { token: "text", lifeMs: "number" },
  lua: `
    local holder = redis.call('GET', lease)
    if holder and holder ~= token then return 0 end
    redis.call('SET', lease, token, 'PX', lifeMs)
    return 1
  `,
});

/** Ends the lease of a holder. Keys: the lease. Arguments: its `token`. Returns nothing. Called by `endHistoryLease`. */
const LET_GO = new Script({
  keys: ["lease"],
  args: { token: "text" },
  lua: `if redis.call('GET', lease) == token then redis.call('DEL', lease) end`,
});

/** Returns whether this process may read now: one does, for `lifeMs` from each call on. */
export async function holdHistoryLease(
  { redis, keys }: Store,
  token: string,
  lifeMs: number,
): Promise<boolean> {
  return (await HOLD.run(redis, { lease: keys.outboxHistoryLease }, { token, lifeMs })) === 1;
}

export async function endHistoryLease({ redis, keys }: Store, token: string): Promise<void> {
  await LET_GO.run(redis, { lease: keys.outboxHistoryLease }, { token });
}

/** Returns entries, the oldest first: those that were read and not acknowledged (`again`), or new ones. */
export async function readHistoryEntries(
  { redis, keys }: Store,
  { limit, again }: { limit: number; again: boolean },
): Promise<StreamEntry[]> {
  const read = () =>
    redis.xreadgroup(
      "GROUP",
      GROUP,
      CONSUMER,
      "COUNT",
      limit,
      "STREAMS",
      keys.outboxHistory,
      again ? "0" : ">",
    );
  let reply: unknown;
  try {
    reply = await read();
  } catch (error) {
    if (!(error as Error).message.startsWith("NOGROUP")) throw error;
    await redis.xgroup("CREATE", keys.outboxHistory, GROUP, "0", "MKSTREAM").catch((fault: Error) => {
      if (!fault.message.startsWith("BUSYGROUP")) throw fault;
    });
    reply = await read();
  }
  const [[, entries] = []] = (reply ?? []) as [string, [string, string[] | null][]][];
  // One that its limit took from the stream after it was read has no fields any more.
  return (entries ?? []).map(([id, fields]) => ({ id, fields: fields ?? [] }));
}

/** Acknowledges entries, which takes them out of the stream. */
export async function forgetEntries({ redis, keys }: Store, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const pipeline = redis.multi();
  pipeline.xack(keys.outboxHistory, GROUP, ...ids);
  pipeline.xdel(keys.outboxHistory, ...ids);
  await repliesOf(pipeline);
}

/** How many ends wait for the database, and since when the first one does, in epoch milliseconds. */
export interface HistoryLag {
  waiting: number;
  since: number | undefined;
}

export async function readHistoryLag({ redis, keys }: Store): Promise<HistoryLag> {
  const [waiting, first] = await Promise.all([
    redis.xlen(keys.outboxHistory),
    redis.xrange(keys.outboxHistory, "-", "+", "COUNT", 1),
  ]);
  const [[id = ""] = []] = first;
  return { waiting, since: id === "" ? undefined : Number(id.split("-")[0]) };
}
