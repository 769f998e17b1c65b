import { type Cost, LIMIT_NAMES } from "./cost.ts";

/** A request that waits for its budget. */
export interface Waiter {
  /** Lower comes first. */
  priority: number;
  cost: Cost;
  /** The request leaves rather than wait longer than this for those ahead of it. */
  maxWaitMs: number;
  /** Somebody waits for it. */
  isUrgent: boolean;
  grant: () => void;
  reject: (error: Error) => void;
}

/** Requests in the order of their priority, and within one first in, first out. */
export class PriorityQueue {
  readonly #waiters: Waiter[] = [];

  get length(): number {
    return this.#waiters.length;
  }

  get head(): Waiter | undefined {
    return this.#waiters[0];
  }

  /** Whether somebody waits for the head alone, and nobody for those after it. */
  get isHeadAloneUrgent(): boolean {
    const [head, next] = this.#waiters;
    return head?.isUrgent === true && next?.isUrgent === false;
  }

  /** A copy of the requests, in their order. */
  get all(): Waiter[] {
    return [...this.#waiters];
  }

  /** Returns what those ask for together who come before a new request of this priority. */
  ahead(priority: number): Cost {
    const sum: Cost = { inputTokens: 0, outputTokens: 0, tokens: 0, requests: 0 };
    for (const waiter of this.#waiters) {
      if (waiter.priority > priority) break;
      for (const name of LIMIT_NAMES) sum[name] += waiter.cost[name];
    }
    return sum;
  }

  add(waiter: Waiter): void {
    const before = this.#waiters.findLastIndex(({ priority }) => priority <= waiter.priority);
    this.#waiters.splice(before + 1, 0, waiter);
  }

  remove(waiter: Waiter): boolean {
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    return index >= 0;
  }
}
