import { reserveCost, settleCost } from "../../store/cost-ledger.ts";
import type { LaneBuy } from "../../store/lane-buy.ts";
import type { Store } from "../../store/store.ts";

/** No provider's batch lasts longer. */
const HOLD_MS = 3 * 86_400_000;

/** What provider batches may cost of their batch's limit, whose ledger is its record. */
export class LaneCosts {
  readonly #store: Store;
  readonly #batchId: string;
  readonly #hasLimit: boolean;

  constructor(store: Store, batchId: string, hasLimit: boolean) {
    this.#store = store;
    this.#batchId = batchId;
    this.#hasLimit = hasLimit;
  }

  /** Holds what a buy may cost; false when the limit leaves too little for it. */
  async hold(buy: LaneBuy, mostUsd: number): Promise<boolean> {
    if (!this.#hasLimit) return true;
    const { kind } = await reserveCost(this.#store, this.#entryOf(buy), mostUsd, HOLD_MS);
    return kind === "reserved";
  }

  /** Counts what a buy cost, 0 when it was not made; what was held for it is free again. */
  async settle(buy: LaneBuy, usd: number): Promise<void> {
    if (this.#hasLimit) await settleCost(this.#store, this.#entryOf(buy), usd);
  }

  #entryOf({ id }: LaneBuy) {
    return { ledger: this.#store.keys.batch(this.#batchId), jobId: `lane-${id}`, callId: id };
  }
}
