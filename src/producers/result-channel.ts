import type { Redis } from "ioredis";
import type { Store } from "../store/store.ts";
import { Wakeup } from "./wakeup.ts";

const PREFIX = "result:";

/**
 * Wakes those of this process who wait for a job's result or for pieces of its answer, over one connection that begins
 * with the first.
 */
export class ResultChannel {
  readonly #store: Store;
  /** By a message on the shared channel, or by a channel of its own. */
  readonly #listeners = new Map<string, Set<Wakeup>>();
  #subscriber: Redis | undefined;
  #subscribed: Promise<unknown> | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Woken by each message from now on, until it is disposed of. */
  async listen(jobId: string, { toPieces = false } = {}): Promise<{ wakeup: Wakeup } & Disposable> {
    const wakeup = new Wakeup();
    const pieces = this.#store.keys.streamChannel(jobId);
    const topics = toPieces ? [PREFIX + jobId, pieces] : [PREFIX + jobId];
    for (const topic of topics) this.#add(topic, wakeup);
    const stop = () => {
      for (const topic of topics) this.#remove(topic, wakeup);
      if (toPieces && !this.#listeners.has(pieces)) this.#subscriber?.unsubscribe(pieces).catch(() => {});
    };
    try {
      this.#subscribed ??= this.#subscribe();
      await this.#subscribed;
      if (toPieces) await this.#subscriber?.subscribe(pieces);
    } catch (error) {
      this.#subscribed = undefined;
      stop();
      throw error;
    }
    return { wakeup, [Symbol.dispose]: stop };
  }

  #add(topic: string, wakeup: Wakeup): void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(wakeup));
  }

  #remove(topic: string, wakeup: Wakeup): void {
    const listeners = this.#listeners.get(topic);
    listeners?.delete(wakeup);
    if (listeners?.size === 0) this.#listeners.delete(topic);
  }

  async #subscribe(): Promise<void> {
    this.#subscriber?.disconnect();
    this.#subscriber = this.#store.redis.duplicate();
    // The command connection's listener reports faults.
    this.#subscriber.on("error", () => {});
    this.#subscriber.on("message", (channel: string, text: string) => {
      const topic = channel === this.#store.keys.channel ? text : channel;
      for (const wakeup of this.#listeners.get(topic) ?? []) wakeup.wake();
    });
    await this.#subscriber.subscribe(this.#store.keys.channel);
  }

  close(): void {
    this.#subscriber?.disconnect();
  }
}
