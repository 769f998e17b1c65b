import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { releaseLeases, renewLeases, takeLease } from "../../store/in-flight-leases.ts";
import type { Store } from "../../store/store.ts";

const RENEW_MS = 5000;
const POLL_MS = 50;

/** Calls in flight of one budget: a fleet-wide number of slots, each leased to the process that uses it. */
export class InFlightSlots {
  readonly #store: Store;
  readonly #budgetId: string;
  readonly #owner = randomUUID();
  readonly #held = new Set<string>();
  #free: string | undefined;
  #taken = 0;
  #isTaking = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  maximum: number;

  constructor(store: Store, budgetId: string, maximum: number) {
    this.#store = store;
    this.#budgetId = budgetId;
    this.maximum = maximum;
  }

  get isFree(): boolean {
    return this.#free !== undefined;
  }

  /** Returns the free slot; the caller gives it back with `release`. */
  use(): string {
    const slot = this.#free!;
    this.#free = undefined;
    return slot;
  }

  /** Tries once for a slot; while all are used it takes its time. Returns whether to look again. */
  async take(): Promise<boolean> {
    if (this.#isTaking || this.#free) return false;
    this.#isTaking = true;
    try {
      const slot = `${this.#owner}:${this.#taken++}`;
      if (await takeLease(this.#store, this.#budgetId, slot, this.maximum)) {
        this.#held.add(slot);
        if (this.#isClosed) this.release(slot);
        else {
          this.#free = slot;
          this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
        }
      } else await delay(POLL_MS * (0.5 + Math.random()));
      return true;
    } finally {
      this.#isTaking = false;
    }
  }

  releaseFree(): void {
    if (this.#free !== undefined) this.release(this.use());
  }

  release(slot: string): void {
    this.#held.delete(slot);
    // Should Redis be away, the lease ends by itself.
    releaseLeases(this.#store, this.#budgetId, [slot]).catch(() => {});
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    const slots = [...this.#held];
    this.#held.clear();
    if (slots.length > 0) await releaseLeases(this.#store, this.#budgetId, slots).catch(() => {});
  }

  #renew(): void {
    if (this.#held.size > 0) renewLeases(this.#store, this.#budgetId, [...this.#held]).catch(() => {});
  }
}
