import { repliesOf } from "./redis.ts";
import type { Store } from "./store.ts";

export interface GroupEntry {
  id: string;
  /** Names and values in turn; none of an entry that the stream's limit took after it was read. */
  fields: string[];
}

interface GroupPlace {
  stream: string;
  group: string;
  /** All processes read under this name, so that those that die leave nothing behind in Redis. */
  consumer: string;
}

/**
 * A stream's only group of readers. What one of them has read comes again, to it or to another one, until it is acknowledged, which
 * takes it out of the stream. The group is made by the first call, and again after Redis was emptied.
 */
export class StreamGroup {
  readonly #redis: Store["redis"];
  readonly #place: GroupPlace;

  constructor({ redis }: Pick<Store, "redis">, place: GroupPlace) {
    this.#redis = redis;
    this.#place = place;
  }

  /** Returns entries that nobody has read, the oldest first. */
  readNew(count: number): Promise<GroupEntry[]> {
    return this.#read(count, ">");
  }

  /** Returns entries that were read and not acknowledged, the oldest first. */
  readAgain(count: number): Promise<GroupEntry[]> {
    return this.#read(count, "0");
  }

  /** Takes over entries that were read at least `idleMs` ago and not acknowledged. */
  async claim(count: number, idleMs: number): Promise<GroupEntry[]> {
    const { stream, group, consumer } = this.#place;
    const reply = await this.#inGroup(() =>
      this.#redis.xautoclaim(stream, group, consumer, idleMs, "0-0", "COUNT", count),
    );
    const [, entries] = reply as [string, RawEntry[]];
    return entries.map(entryOf);
  }

  /** Acknowledges entries, which takes them out of the stream. */
  async acknowledge(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { stream, group } = this.#place;
    await repliesOf(
      this.#redis
        .multi()
        .xack(stream, group, ...ids)
        .xdel(stream, ...ids),
    );
  }

  async #read(count: number, from: ">" | "0"): Promise<GroupEntry[]> {
    const { stream, group, consumer } = this.#place;
    const reply = await this.#inGroup(() =>
      this.#redis.xreadgroup("GROUP", group, consumer, "COUNT", count, "STREAMS", stream, from),
    );
    const [[, entries] = []] = (reply ?? []) as [string, RawEntry[]][];
    return (entries ?? []).map(entryOf);
  }

  async #inGroup<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!(error as Error).message.startsWith("NOGROUP")) throw error;
    }
    const { stream, group } = this.#place;
    await this.#redis.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch((fault: Error) => {
      if (!fault.message.startsWith("BUSYGROUP")) throw fault;
    });
    return ask();
  }
}

type RawEntry = [id: string, fields: string[] | null];

function entryOf([id, fields]: RawEntry): GroupEntry {
  return { id, fields: fields ?? [] };
}
