import { type OutboxEvent, readOutboxEvent } from "./outbox-event.ts";
import type { Store } from "./store.ts";
import { type GroupEntry, StreamGroup } from "./stream-group.ts";

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
 * until it is acknowledged.
 */
export class WebhookOutbox {
  readonly #group: StreamGroup;
  #claimedAt = Number.NEGATIVE_INFINITY;

  constructor(store: Store) {
    const place = { stream: store.keys.outboxWebhooks, group: "webhooks", consumer: "reader" };
    this.#group = new StreamGroup(store, place);
  }

  /** Returns at most `count` entries that are to be done; none when there are none now. */
  async next(count: number): Promise<OutboxEntry[]> {
    if (performance.now() - this.#claimedAt > CLAIM_MS) {
      const left = await this.#group.claim(count, IDLE_MS);
      if (left.length > 0) return left.map(readEntry);
      this.#claimedAt = performance.now();
    }
    return (await this.#group.readNew(count)).map(readEntry);
  }

  /** Entries that are done never come again, and leave the stream. */
  async acknowledge(entries: readonly OutboxEntry[]): Promise<void> {
    await this.#group.acknowledge(entries.map(({ entryId }) => entryId));
  }
}

function readEntry({ id, fields }: GroupEntry): OutboxEntry {
  return { entryId: id, event: readOutboxEvent(fields) };
}
