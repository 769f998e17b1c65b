import type { Redis } from "ioredis";

/** Turns a pub/sub message into an end of waiting; a message that came before the wait is not missed. */
export class Wakeup {
  #woken = false;
  #resolve: (() => void) | undefined;

  constructor(subscriber: Redis, wanted: string) {
    subscriber.on("message", (_channel, text) => {
      if (text === wanted) this.wake();
    });
  }

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /** Resolves when woken since the last wait, at the latest after `maxMs`. */
  async wait(maxMs: number): Promise<void> {
    if (!this.#woken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#resolve = resolve;
      const timer = setTimeout(resolve, maxMs);
      await promise;
      clearTimeout(timer);
      this.#resolve = undefined;
    }
    this.#woken = false;
  }
}
