import type { Redis } from "ioredis";
import type { RedisKeys } from "../shared/redis-keys.ts";
import { Wakeup } from "./wakeup.ts";

const PREFIX = "result:";

/** Wakes those of this process who wait for a job's result, over one subscription that begins with the first. */
export class ResultChannel {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #listeners = new Map<string, Set<Wakeup>>();
  #subscriber: Redis | undefined;
  #subscribed: Promise<unknown> | undefined;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Woken by each message from now on, until it is disposed of. */
  async listen(jobId: string): Promise<{ wakeup: Wakeup } & Disposable> {
    const wakeup = new Wakeup();
    const listeners = this.#listeners.get(jobId) ?? new Set();
    this.#listeners.set(jobId, listeners.add(wakeup));
    const stop = () => {
      listeners.delete(wakeup);
      if (listeners.size === 0 && this.#listeners.get(jobId) === listeners) this.#listeners.delete(jobId);
    };
    try {
      this.#subscribed ??= this.#subscribe();
      await this.#subscribed;
    } catch (error) {
      this.#subscribed = undefined;
      stop();
      throw error;
    }
    return { wakeup, [Symbol.dispose]: stop };
  }

  async #subscribe(): Promise<void> {
    this.#subscriber?.disconnect();
    this.#subscriber = this.#redis.duplicate();
    // The command connection's listener reports faults.
    this.#subscriber.on("error", () => {});
    this.#subscriber.on("message", (_channel, text: string) => {
      if (!text.startsWith(PREFIX)) return;
      for (const wakeup of this.#listeners.get(text.slice(PREFIX.length)) ?? []) wakeup.wake();
    });
    await this.#subscriber.subscribe(this.#keys.channel);
  }

  close(): void {
    this.#subscriber?.disconnect();
  }
}
