import { setTimeout as delay } from "node:timers/promises";
import { partsOf } from "./bullmq-internals.ts";
import type { ConnectedStore } from "./connected-store.ts";
import { registeredQueues } from "./queue-registry.ts";
import { repliesOf } from "./redis.ts";

/** Changes are told at most so often. */
const LOOK_MS = 500;
/** Redis that does not answer so long is away. */
const AWAY_MS = 2000;

/**
 * Tells those of this process who watch a namespace that something in it has changed, not what: from the messages of the namespace, and from the
 * ends of BullMQ's event streams, which grow with each move of a job. However many watch, Redis is looked at once every half second; while nobody
 * does, not at all. That Redis is away is a change too: who asks then is told so.
 */
export class ChangeFeed {
  readonly #store: ConnectedStore;
  readonly #watchers = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #messages: Promise<Disposable> | undefined;
  #hasMessage = false;
  /** The last events of all queues. */
  #ends: string | undefined;

  constructor(store: ConnectedStore) {
    this.#store = store;
  }

  /** Calls `tell` after each change, until what it returns is disposed of. */
  watch(tell: () => void): Disposable {
    this.#watchers.add(tell);
    if (this.#watchers.size === 1) this.#begin();
    return {
      [Symbol.dispose]: () => {
        if (this.#watchers.delete(tell) && this.#watchers.size === 0) this.#end();
      },
    };
  }

  #begin(): void {
    const hear = () => {
      this.#hasMessage = true;
    };
    this.#messages = this.#store.notifier.listen({ all: hear });
    this.#messages.catch(() => {});
    this.#timer = setTimeout(() => void this.#look(), 0);
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#ends = undefined;
    this.#messages?.then((messages) => messages[Symbol.dispose]()).catch(() => {});
  }

  async #look(): Promise<void> {
    const timer = this.#timer;
    const away = delay(AWAY_MS, undefined, { ref: false });
    const ends = await Promise.race([this.#readEnds(), away]).catch(() => undefined);
    // Meanwhile the last one may have gone, and another one come.
    if (timer !== this.#timer) return;
    const isFirst = this.#ends === undefined;
    const hasChanged = ends === undefined || (!isFirst && ends !== this.#ends) || this.#hasMessage;
    this.#hasMessage = false;
    this.#ends = ends ?? this.#ends;
    if (hasChanged) for (const tell of this.#watchers) tell();
    this.#timer = setTimeout(() => void this.#look(), LOOK_MS).unref();
  }

  async #readEnds(): Promise<string> {
    const queues = await registeredQueues(this.#store);
    const pipeline = this.#store.redis.pipeline();
    for (const queue of queues) pipeline.xrevrange(partsOf(this.#store, queue).events, "+", "-", "COUNT", 1);
    const replies = queues.length === 0 ? [] : await repliesOf(pipeline);
    // Of an entry its id is enough.
    return JSON.stringify(replies.map((entries) => (entries as [string][])[0]?.[0]));
  }
}

const feeds = new WeakMap<ConnectedStore, ChangeFeed>();

/** Returns the feed of a namespace that all of this process share. */
export function changeFeedOf(store: ConnectedStore): ChangeFeed {
  const known = feeds.get(store) ?? new ChangeFeed(store);
  feeds.set(store, known);
  return known;
}
