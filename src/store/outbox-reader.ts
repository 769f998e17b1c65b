import { randomUUID } from "node:crypto";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { type GroupEntry, StreamGroup } from "./stream-group.ts";

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

/**
 * Takes the lease, or renews it. Keys: the lease. Arguments: the holder's `token`, the life of the lease. Returns: 1 when the holder has it, else
 * 0. Called by `ReaderLease.hold`. Fence: the lease itself.
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

/** Ends the lease of a holder. Keys: the lease. Arguments: its `token`. Returns nothing. Called by `ReaderLease.end`. */
const LET_GO = new Script({
  keys: ["lease"],
  args: { token: "text" },
  lua: `if redis.call('GET', lease) == token then redis.call('DEL', lease) end`,
});

/** The right to read one of the streams, which one process has at a time: the history's, or another one's at `lease`. */
export class ReaderLease {
  readonly #store: Store;
  readonly #lease: string;
  readonly #token = randomUUID();

  constructor(store: Store, lease = store.keys.outboxHistoryLease) {
    this.#store = store;
    this.#lease = lease;
  }

  /** Returns whether this process may read now: one does, for `lifeMs` from each call on. */
  async hold(lifeMs: number): Promise<boolean> {
    const args = { token: this.#token, lifeMs };
    return (await HOLD.run(this.#store.redis, { lease: this.#lease }, args)) === 1;
  }

  async end(): Promise<void> {
    await LET_GO.run(this.#store.redis, { lease: this.#lease }, { token: this.#token });
  }
}

/** Returns entries, the oldest first: those that were read and not acknowledged (`again`), or new ones. */
export function readHistoryEntries(
  store: Store,
  { limit, again }: { limit: number; again: boolean },
): Promise<GroupEntry[]> {
  const group = groupOf(store);
  return again ? group.readAgain(limit) : group.readNew(limit);
}

/** Acknowledges entries, which takes them out of the stream. */
export async function forgetEntries(store: Store, ids: readonly string[]): Promise<void> {
  await groupOf(store).acknowledge(ids);
}

function groupOf(store: Store): StreamGroup {
  return new StreamGroup(store, { stream: store.keys.outboxHistory, group: "sql", consumer: "writer" });
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
