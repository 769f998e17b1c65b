import { type OutboxEvent, readOutboxEvent } from "./outbox-event.ts";
import type { Store } from "./store.ts";

const GROUP = "webhooks";
const READER = "reader";
/** Who took entries and has not acknowledged them for so long has died: another one gets them. */
const IDLE_MS = 30_000;
/** How often that is looked for. */
const CLAIM_MS = 5000;

export interface OutboxEntry {
  /** Its place in the stream. */
  entryId: string;
  /** Undefined: it is damaged, or of a later version. */
  event: OutboxEvent | undefined;
}

/**
 * The stream `:outbox:webhooks` from the side of its readers (its writers: outbox.ts): each entry goes to one process, and again to one
 * until it is acknowledged, which takes it out of the stream. All read under one name, so that processes that die leave
 * nothing behind in Redis.
 */
export class WebhookOutbox {
  readonly #store: Store;
  readonly #stream: string;
  #claimedAt = Number.NEGATIVE_INFINITY;

  constructor(store: Store) {
    this.#store = store;
    this.#stream = store.keys.outboxWebhooks;
  }

  /** Returns at most `count` entries that are to be done; none when there are none now. */
  async next(count: number): Promise<OutboxEntry[]> {
    try {
      return await this.#read(count);
    } catch (error) {
      // It is the first to read, or Redis was emptied.
      if (!(error instanceof Error) || !/^NOGROUP/.test(error.message)) throw error;
      await this.#store.redis.xgroup("CREATE", this.#stream, GROUP, "0", "MKSTREAM").catch((fault: Error) => {
        if (!/^BUSYGROUP/.test(fault.message)) throw fault;
      });
      return this.#read(count);
    }
  }

  async #read(count: number): Promise<OutboxEntry[]> {
    const { redis } = this.#store;
    if (performance.now() - this.#claimedAt > CLAIM_MS) {
      const args = ["0-0", "COUNT", count] as const;
      const [, left] = (await redis.xautoclaim(this.#stream, GROUP, READER, IDLE_MS, ...args)) as [
        string,
        RawEntry[],
      ];
      if (left.length > 0) return left.map(readEntry);
      this.#claimedAt = performance.now();
    }
    const reply = await redis.xreadgroup(
      "GROUP",
      GROUP,
      READER,
      "COUNT",
      count,
      "STREAMS",
      this.#stream,
      ">",
    );
    const [[, entries] = ["", []]] = (reply ?? []) as [string, RawEntry[]][];
    return entries.map(readEntry);
  }

  /** Entries that are done never come again, and leave the stream. */
  async acknowledge(entries: readonly OutboxEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const ids = entries.map(({ entryId }) => entryId);
    const { redis } = this.#store;
    await redis
      .multi()
      .xack(this.#stream, GROUP, ...ids)
      .xdel(this.#stream, ...ids)
      .exec();
  }
}

/** Fields are null of an entry that was dropped over the stream's limit while somebody had it. */
type RawEntry = [string, string[] | null];

function readEntry([entryId, fields]: RawEntry): OutboxEntry {
  return { entryId, event: readOutboxEvent(fields ?? []) };
}
