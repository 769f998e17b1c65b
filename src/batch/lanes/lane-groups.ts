import { type ModelRef, modelRef } from "../../shared/model-name.ts";
import type { LaneBuy } from "../../store/lane-buy.ts";
import { notePool, readPool } from "../../store/lane-pools.ts";
import type { Store } from "../../store/store.ts";
import type { DiskIndex } from "../disk-index.ts";
import type { IndexRow } from "../index-row.ts";
import type { LaneRequests } from "./lane-requests.ts";
import type { LaneRows } from "./lane-rows.ts";

/** Rows of a provider batch, at the most. */
export const GROUP_ROWS = 5000;
const LEAST_GROUP_ROWS = 100;
const SCAN_ROWS = 500;
const MAX_PAUSE_MS = 60_000;

/** Rows that are to be one provider batch. */
export interface LaneGroup {
  jobIds: string[];
  /** Where all of them go; undefined when there are none. */
  endpoint: string | undefined;
  /** What they may cost together, in USD. */
  mostUsd: number;
  /** Of their prompts. */
  tokens: number;
}

/** What is known of the tokens that a provider lets wait in a model's batches. */
interface Pool {
  /** That may wait together. */
  tokens: number;
  /** That a group may have: half of the last one that was refused. */
  groupTokens: number;
  /** Until when no further batch is asked for, by the clock of the process: the pool is full. */
  fullUntilMs: number;
}

/** Puts the rows of a batch that no lane has into groups, in the order of the input. */
export class LaneGroups {
  readonly #store: Store;
  readonly #index: DiskIndex;
  readonly #rows: LaneRows;
  readonly #requests: LaneRequests;
  readonly #pollMs: number;
  /** By model: the line up to which rows were looked at. */
  readonly #cursors = new Map<string, number>();
  /** By model. */
  readonly #pools = new Map<string, Pool>();

  constructor(store: Store, index: DiskIndex, rows: LaneRows, requests: LaneRequests, pollMs: number) {
    this.#store = store;
    this.#index = index;
    this.#rows = rows;
    this.#requests = requests;
    this.#pollMs = pollMs;
  }

  /** Whether the provider's pool of a model's waiting tokens may have room. */
  hasRoom(modelKey: string): boolean {
    return performance.now() >= (this.#pools.get(modelKey)?.fullUntilMs ?? 0);
  }

  /**
   * The provider's pool has no room for a buy: smaller groups, later.
   * @param poolTokens what may wait together, where the provider tells
   * @param waiting tokens of the batch's other buys of the model
   */
  async full(buy: LaneBuy, poolTokens: number | undefined, waiting: number): Promise<void> {
    const { key } = modelRef(buy.entry, buy.model);
    const pool = await this.#poolOf(key);
    pool.tokens = poolTokens ?? Math.min(pool.tokens, (waiting + buy.tokens) / 2);
    // Where others fill the pool, no group is small enough: it waits, and is not cut into single rows.
    if (buy.requests > LEAST_GROUP_ROWS || poolTokens !== undefined) pool.groupTokens = buy.tokens / 2;
    pool.fullUntilMs = performance.now() + Math.min(MAX_PAUSE_MS, this.#pollMs * 2);
    await notePool(this.#store, key, pool.tokens);
  }

  /** Rows of a model that were passed over are looked at again. */
  rescan(modelKey: string): void {
    this.#cursors.delete(modelKey);
  }

  /**
   * Takes the next rows of a model; those that no provider batch can carry go online.
   * @param waiting tokens of the batch's buys of the model
   */
  async next(model: ModelRef, inFlight: ReadonlyMap<string, unknown>, waiting: number): Promise<LaneGroup> {
    const { maxRequests, maxBytes } = await this.#requests.providerOf(model.entry);
    const most = Math.min(GROUP_ROWS, maxRequests);
    const pool = await this.#poolOf(model.key);
    const usual = this.#index.usualUse(model.key);
    const room = Math.min(pool.groupTokens, pool.tokens - waiting);
    const group: LaneGroup = { jobIds: [], endpoint: undefined, mostUsd: 0, tokens: 0 };
    let bytes = 0;
    for (const row of this.#missingRows(model)) {
      if (group.jobIds.length >= most) break;
      if (this.#rows.take(row, inFlight)) {
        const request = await this.#requests.of(model, row, usual);
        if (!request || request.tokens > pool.tokens) this.#rows.goesOnline(this.#rows.jobIdOf(row));
        else {
          const isOther = group.endpoint !== undefined && request.endpoint !== group.endpoint;
          const isFull = group.tokens + request.tokens > room && (group.jobIds.length > 0 || waiting > 0);
          // The next group begins with it; its answers need room too.
          if (isOther || isFull || bytes + row.bytes > maxBytes / 2) {
            this.#rows.leave(row);
            break;
          }
          group.endpoint = request.endpoint;
          bytes += row.bytes;
          group.tokens += request.tokens;
          group.mostUsd += request.mostUsd;
          group.jobIds.push(this.#rows.jobIdOf(row));
        }
      }
      this.#cursors.set(model.key, row.line);
    }
    return group;
  }

  async #poolOf(modelKey: string): Promise<Pool> {
    const known = this.#pools.get(modelKey);
    if (known) return known;
    const tokens = await readPool(this.#store, modelKey);
    const pool = { tokens, groupTokens: Number.POSITIVE_INFINITY, fullUntilMs: 0 };
    this.#pools.set(modelKey, pool);
    return pool;
  }

  *#missingRows({ key }: ModelRef): Generator<IndexRow> {
    for (;;) {
      const rows = this.#index.nextMissing(key, this.#cursors.get(key) ?? 0, SCAN_ROWS);
      if (rows.length === 0) return;
      yield* rows;
    }
  }
}
