import { addOutcomes, type Outcomes } from "../store/fleet-outcomes.ts";
import type { Store } from "../store/store.ts";

const FLUSH_MS = 2000;
/** Share of the newest call in the mean of its kind. */
const NEWEST = 0.1;

/** Gathers what this process's work came to, and adds it to the fleet's sums every few seconds. */
export class OutcomeSums {
  readonly #store: Store;
  readonly #timer: NodeJS.Timeout;
  readonly #meanMs = new Map<string, number>();
  /** Those that have changed since they were last told. */
  readonly #changed = new Set<string>();
  #sums: Outcomes = none();

  constructor(store: Store) {
    this.#store = store;
    this.#timer = setInterval(() => void this.#flush(), FLUSH_MS).unref();
  }

  /** A call of a budget key, or an activity of a queue, has taken so long. */
  called(key: string, durationMs: number, costUsd: number): void {
    const mean = this.#meanMs.get(key) ?? durationMs;
    this.#meanMs.set(key, mean + (durationMs - mean) * NEWEST);
    this.#changed.add(key);
    this.#sums.costUsd += costUsd;
  }

  ended(status: "succeeded" | "failed"): void {
    this.#sums.ended += 1;
    if (status === "failed") this.#sums.failed += 1;
  }

  async #flush(): Promise<void> {
    const sums = this.#sums;
    const times = new Map([...this.#changed].map((key) => [key, this.#meanMs.get(key) ?? 0]));
    if (sums.ended === 0 && times.size === 0) return;
    this.#sums = none();
    this.#changed.clear();
    await addOutcomes(this.#store, sums, times).catch(() => {
      this.#sums.ended += sums.ended;
      this.#sums.failed += sums.failed;
      this.#sums.costUsd += sums.costUsd;
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#store.redis.status === "ready") await this.#flush();
  }
}

function none(): Outcomes {
  return { ended: 0, failed: 0, costUsd: 0 };
}
