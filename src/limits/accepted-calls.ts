import { countAccepted } from "../store/learned-limits.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { GrantRate } from "./grant-rate.ts";
import type { AcceptedAt } from "./guessed-rate.ts";

const SHARE_MS = 250;
const KEPT_MS = 60_000;
/** So few calls say little of a rate. */
const TELLING_CALLS = 10;
const LEAST_LOOK_MS = 5000;
const USED_SHARE = 0.8;

/** The calls of one budget that the provider accepted: this process's, and what the fleet tells of its own. */
export class AcceptedCalls {
  readonly #store: Store;
  readonly #id: string;
  readonly #rate = new GrantRate();
  /** Not told yet. */
  #pending = 0;
  /** Those that were sent before are not counted. */
  #sharedSinceMs = Number.POSITIVE_INFINITY;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  readonly #seen: AcceptedAt[] = [];

  constructor(store: Store, id: string) {
    this.#store = store;
    this.#id = id;
  }

  /** How many this process made per second of late. */
  get perSecond(): number {
    return this.#rate.perSecond(performance.now());
  }

  /** Counts of the fleet in the last minute, the oldest first. */
  get seen(): readonly AcceptedAt[] {
    return this.#seen;
  }

  /** Counts one. @param isShared whether the fleet is told, now and then */
  add(isShared: boolean): void {
    this.#rate.add(performance.now());
    if (!isShared) return;
    this.#sharedSinceMs = Math.min(this.#sharedSinceMs, performance.now());
    this.#pending += 1;
    if (performance.now() - this.#toldAtMs < SHARE_MS) return;
    // What is not told now is told with the next ones.
    this.tell().catch(() => {});
  }

  /** One of them was refused. @param sentAtMs when it was sent, by `performance.now()` */
  takeBack(sentAtMs: number): void {
    if (sentAtMs >= this.#sharedSinceMs) this.#pending -= 1;
  }

  /** Tells the fleet of what was counted. Returns how many the fleet has had. */
  async tell(): Promise<AcceptedAt> {
    const told = this.#pending;
    this.#pending = 0;
    this.#toldAtMs = performance.now();
    try {
      const now = { total: await countAccepted(this.#store, this.#id, told), at: clockOf(this.#store).now() };
      this.#seen.push(now);
      while (now.at - Number(this.#seen[0]?.at) > KEPT_MS) this.#seen.shift();
      return now;
    } catch (error) {
      this.#pending += told;
      throw error;
    }
  }

  /** Returns whether the fleet has lately used a rate nearly to the full: only then does it tell that no call is refused. */
  isUsed(now: AcceptedAt, perMinute: number): boolean {
    const lookMs = Math.max(LEAST_LOOK_MS, (TELLING_CALLS / perMinute) * 60_000);
    const from = this.#seen.findLast(({ at }) => now.at - at >= lookMs) ?? this.#seen[0];
    if (!from || from.at >= now.at) return false;
    const usable = (perMinute / 60_000) * (now.at - from.at);
    return now.total - from.total >= USED_SHARE * usable;
  }
}
