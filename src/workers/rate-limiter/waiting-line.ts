/** A request in line. */
export interface Waiter {
  /** Lower comes first. */
  priority: number;
  tokens: number;
  grant: () => void;
  reject: (error: Error) => void;
}

/** First in, first out within a priority. */
export class WaitingLine {
  readonly #waiters: Waiter[] = [];
  #tokens = 0;

  get length(): number {
    return this.#waiters.length;
  }

  /** Tokens of all waiting requests together. */
  get tokens(): number {
    return this.#tokens;
  }

  get head(): Waiter | undefined {
    return this.#waiters[0];
  }

  add(waiter: Waiter): void {
    const before = this.#waiters.findLastIndex(({ priority }) => priority <= waiter.priority);
    this.#waiters.splice(before + 1, 0, waiter);
    this.#tokens += waiter.tokens;
  }

  remove(waiter: Waiter): boolean {
    const index = this.#waiters.indexOf(waiter);
    if (index < 0) return false;
    this.#waiters.splice(index, 1);
    this.#tokens -= waiter.tokens;
    return true;
  }
}
