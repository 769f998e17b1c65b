/** Turns a message into an end of waiting; one that came before the wait is not missed. */
export class Wakeup {
  #woken = false;
  #resolve: (() => void) | undefined;

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /** Resolves when woken since the last wait, at the latest after `maxMs`. Returns whether it was woken. */
  async wait(maxMs: number): Promise<boolean> {
    if (!this.#woken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#resolve = resolve;
      const timer = setTimeout(resolve, maxMs);
      await promise;
      clearTimeout(timer);
      this.#resolve = undefined;
    }
    const wasWoken = this.#woken;
    this.#woken = false;
    return wasWoken;
  }
}
