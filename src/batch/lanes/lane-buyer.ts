import { randomUUID } from "node:crypto";
import { hasBatches } from "../../providers/batches/create-batches.ts";
import { limitsOf, type StatedLimits } from "../../shared/budget.ts";
import type { Logger } from "../../shared/logger.ts";
import { type ModelRef, modelRef } from "../../shared/model-name.ts";
import type { LaneStatus } from "../../shared/records.ts";
import type { Lease } from "../../store/batch-lease.ts";
import { endBuy, intendBuy, type LaneBuy, readBuys, releaseRows, saveBuy } from "../../store/lane-buy.ts";
import { readDurations } from "../../store/lane-durations.ts";
import { readLearnedLimits } from "../../store/learned-limits.ts";
import type { DiskIndex } from "../disk-index.ts";
import type { IndexRow } from "../index-row.ts";
import type { Window } from "../window.ts";
import { LaneCosts } from "./lane-costs.ts";
import { LaneLadder } from "./lane-ladder.ts";
import { buysBatch, type LaneOptions, switchAt } from "./lane-plan.ts";
import { LaneRequests } from "./lane-requests.ts";
import { LaneResults, type LaneResultsOptions } from "./lane-results.ts";
import { LaneRows } from "./lane-rows.ts";

const GROUP_ROWS = 5000;
const LEAST_GROUP_ROWS = 100;
/** Rows of a batch that may lie in provider batches at a time. */
const MAX_ROWS = 200_000;
const SCAN_ROWS = 500;
const FAULT_DELAY_MS = 10_000;
/** Requests per minute that an account is taken to let through where nobody knows. */
const UNKNOWN_RPM = 300;

interface LaneBuyerOptions extends LaneResultsOptions {
  logger: Logger;
  lease: Lease;
  index: DiskIndex;
  /** Whether the batch has a cost limit, whose ledger is its record. */
  hasCostLimit: boolean;
  /** Undefined: nothing more is bought; what earlier runs bought is brought to its end. */
  lanes: LaneOptions | undefined;
  /** Wakes the row sender. */
  wake: () => void;
}

/** What a buy does now, beside what its record says. */
interface Progress {
  step: Promise<void> | undefined;
  notBeforeMs: number;
}

/** Buys a batch's rows in their providers' batches, at a lower price, as long as these may be done in time. */
export class LaneBuyer {
  readonly #options: LaneBuyerOptions;
  readonly #rows: LaneRows;
  readonly #costs: LaneCosts;
  readonly #requests: LaneRequests;
  readonly #results: LaneResults;
  readonly #ladder: LaneLadder;
  readonly #buys = new Map<string, LaneBuy>();
  readonly #progress = new Map<string, Progress>();
  /** By model: whether its rows were kept at the last turn; why its provider takes none; what is known of it. */
  readonly #wanted = new Map<string, boolean>();
  readonly #closed = new Map<string, string>();
  readonly #cursors = new Map<string, number>();
  readonly #durations = new Map<string, number[]>();
  #learned = new Map<string, StatedLimits>();
  #seenFreed = 0;
  #groupRows = GROUP_ROWS;
  /** Until when no further batch is asked for: the provider's pool is full. */
  #fullUntilMs = 0;
  #switchAtMs = Number.POSITIVE_INFINITY;
  #buying: Promise<void> | undefined;

  constructor(options: LaneBuyerOptions) {
    const { store, settings, reader, wire, batchId, index, hasCostLimit } = options;
    this.#options = options;
    this.#rows = new LaneRows(batchId, index);
    this.#costs = new LaneCosts(store, batchId, hasCostLimit);
    this.#requests = new LaneRequests(settings, reader, wire);
    this.#results = new LaneResults(options, this.#rows);
    const parts = { rows: this.#rows, requests: this.#requests, results: this.#results };
    this.#ladder = new LaneLadder({
      ...options,
      ...parts,
      site: {
        wants: (modelKey) => this.#wantsKey(modelKey),
        isLate: () => options.lanes !== undefined && Date.now() >= this.#switchAtMs,
        buysUnknown: options.lanes?.onUnknown === "buy",
        knownIds: () => new Set([...this.#buys.values()].map((buy) => buy.batchId)),
        full: () => this.#full(),
        close: (modelKey, reason) => void this.#closed.set(modelKey, reason),
        end: (buy, brought) => this.#end(buy, brought),
        wake: options.wake,
      },
    });
  }

  /** Finds what earlier runs have bought. */
  async open(): Promise<void> {
    const { store, batchId } = this.#options;
    const { buys, rows } = await readBuys(store, batchId);
    for (const buy of buys) this.#buys.set(buy.id, buy);
    for (const [jobId, buyId] of rows) {
      if (this.#buys.has(buyId)) this.#rows.bought(jobId, buyId);
      // Its buy was over when a crash came in between.
      else await releaseRows(store, batchId, buyId, [jobId]);
    }
  }

  /** Whether provider batches are still to be read in. */
  get isBusy(): boolean {
    return this.#buys.size > 0;
  }

  /** Where each provider batch stands. */
  status(): LaneStatus[] {
    return [...this.#buys.values()].map(({ entry, model, batchId, state, requests, seen, unknownSince }) => ({
      model: modelRef(entry, model).key,
      ...(batchId !== undefined && { id: batchId }),
      state:
        unknownSince !== undefined ? "unknown" : state === "created" ? (seen?.state ?? "in_progress") : state,
      rows: requests,
      done: seen?.done ?? 0,
    }));
  }

  /** Returns whether a row must not be sent online now: a provider batch has it, or may get it. */
  keeps(jobId: string, model: ModelRef): boolean {
    return this.#rows.isHeld(jobId) || (!this.#rows.isOnline(jobId) && this.#wantsKey(model.key));
  }

  /** Rows are sent online from now on: no provider batch takes them any more. */
  sendOnline(jobIds: readonly string[]): void {
    if (this.#options.lanes) this.#rows.sent(jobIds);
  }

  /** The row sender has taken the row's result. */
  forget(jobId: string): void {
    this.#rows.forget(jobId);
  }

  /**
   * Begins what is to be done now. Returns whether rows may go online that could not before.
   * @param missing rows without a result
   */
  turn(windows: readonly Window[], missing: number): boolean {
    const { lanes, settings } = this.#options;
    if (!lanes && !this.isBusy) return false;
    if (lanes) {
      const pace = { rows: missing, rowsPerSecond: this.#rowsPerSecond(windows) };
      this.#switchAtMs = switchAt(lanes.byMs, { ...pace, leastMs: settings.laneReserveMs });
    }
    for (const { model } of windows) {
      const isWanted = this.#wantsKey(model.key);
      if (this.#wanted.get(model.key) && !isWanted) this.#rows.freed += 1;
      this.#wanted.set(model.key, isWanted);
    }
    for (const buy of this.#buys.values()) this.#go(buy);
    this.#buying ??= this.#buyMore(windows)
      .catch(({ message }: Error) =>
        this.#options.logger.warn({ fault: message }, "no provider batch was bought"),
      )
      .finally(() => {
        this.#buying = undefined;
      });
    const isFreed = this.#rows.freed !== this.#seenFreed;
    this.#seenFreed = this.#rows.freed;
    return isFreed;
  }

  /** Asks all provider batches to end; what they have done by then is read in. */
  cancelAll(): void {
    for (const buy of this.#buys.values()) {
      buy.cancelledAt ??= Date.now();
      this.#go(buy);
    }
  }

  /** Waits for what is under way. Provider batches go on: another run reads them in. */
  async close(): Promise<void> {
    await this.#buying;
    await Promise.all([...this.#progress.values()].map(({ step }) => step));
    await this.#requests.close();
  }

  /** Returns how many rows a second the account's limits let through online, as far as they are known. */
  #rowsPerSecond(windows: readonly Window[]): number {
    const { limits } = this.#options.settings;
    const ofModel = ({ model }: Window) =>
      (limitsOf(limits, this.#learned, model.key).rpm?.perMinute ?? UNKNOWN_RPM) / 60;
    return windows.reduce((sum, window) => sum + ofModel(window), 0);
  }

  #wantsKey(modelKey: string): boolean {
    const { lanes, settings } = this.#options;
    const entry = settings.providers[modelKey.split(":", 1)[0] ?? ""];
    if (!lanes?.lanes.includes("batch") || this.#closed.has(modelKey)) return false;
    // A host of the API may have no keys: then its rows go to the workers, which have them.
    if (!entry || !hasBatches(entry) || !(entry.apiKey || entry.keyOptional)) return false;
    const seen = this.#durations.get(modelKey);
    // Until it is read how long they take, the row waits.
    return seen === undefined || buysBatch(Date.now(), this.#switchAtMs, seen);
  }

  async #buyMore(windows: readonly Window[]): Promise<void> {
    const { store } = this.#options;
    this.#learned = await readLearnedLimits(store);
    for (const window of windows) {
      const { key } = window.model;
      if (!this.#durations.has(key)) this.#durations.set(key, await readDurations(store, key));
      const mayBuy = () =>
        !window.stop && this.#wantsKey(key) && this.#rows.size < MAX_ROWS && Date.now() >= this.#fullUntilMs;
      try {
        while (mayBuy() && (await this.#buyGroup(window)));
      } finally {
        this.#rows.endTaking();
      }
    }
  }

  /** Takes the next rows of a model and begins to buy them. Returns whether there were any. */
  async #buyGroup({ model, queue, rows: inFlight }: Window): Promise<boolean> {
    const { store, batchId, logger } = this.#options;
    const { jobIds, endpoint, mostUsd } = await this.#nextGroup(model, inFlight);
    if (endpoint === undefined) return false;
    const { entry, model: name } = model;
    const requests = jobIds.length;
    const buy: LaneBuy = {
      v: 1,
      id: randomUUID(),
      state: "intended",
      entry,
      model: name,
      endpoint,
      requests,
      since: Date.now(),
    };
    if (!(await this.#costs.hold(buy, mostUsd))) {
      const reason = "the cost limit leaves too little for a provider batch";
      this.#closed.set(model.key, reason);
      logger.info({ model: model.key }, `${reason}; its rows go online`);
      return false;
    }
    const taken = new Set(await intendBuy(store, batchId, queue, buy, jobIds));
    for (const jobId of jobIds) {
      if (taken.has(jobId)) this.#rows.bought(jobId, buy.id);
      else this.#rows.goesOnline(jobId);
    }
    buy.requests = taken.size;
    if (taken.size === 0) await this.#costs.settle(buy, 0);
    else {
      this.#buys.set(buy.id, buy);
      await saveBuy(store, batchId, buy);
      logger.debug({ model: model.key, rows: taken.size }, "rows go to a provider batch");
      this.#go(buy);
    }
    return true;
  }

  async #nextGroup(model: ModelRef, inFlight: Window["rows"]) {
    const { maxRequests, maxBytes } = this.#requests.providerOf(model.entry);
    const most = Math.min(this.#groupRows, maxRequests);
    const group = { jobIds: [] as string[], endpoint: undefined as string | undefined, mostUsd: 0 };
    let bytes = 0;
    for (const row of this.#missingRows(model)) {
      if (group.jobIds.length >= most) break;
      if (this.#rows.take(row, inFlight)) {
        const request = await this.#requests.of(model, row);
        if (!request) this.#rows.goesOnline(this.#rows.jobIdOf(row));
        else {
          group.endpoint ??= request.endpoint;
          // The next group begins with it; its answers need room too.
          if (request.endpoint !== group.endpoint || bytes + row.bytes > maxBytes / 2) {
            this.#rows.leave(row);
            break;
          }
          bytes += row.bytes;
          group.mostUsd += request.mostUsd;
          group.jobIds.push(this.#rows.jobIdOf(row));
        }
      }
      this.#cursors.set(model.key, row.line);
    }
    return group;
  }

  *#missingRows({ key }: ModelRef): Generator<IndexRow> {
    for (;;) {
      const rows = this.#options.index.nextMissing(key, this.#cursors.get(key) ?? 0, SCAN_ROWS);
      if (rows.length === 0) return;
      yield* rows;
    }
  }

  /** Begins the next step of a buy, unless one is under way or it is too early. */
  #go(buy: LaneBuy): void {
    const progress = this.#progress.get(buy.id) ?? { step: undefined, notBeforeMs: 0 };
    this.#progress.set(buy.id, progress);
    if (progress.step !== undefined || Date.now() < progress.notBeforeMs) return;
    const { logger, settings } = this.#options;
    progress.step = this.#ladder
      .step(buy)
      .catch(({ message }: Error) => {
        logger.warn({ buy: buy.id, fault: message }, "a provider batch has to wait");
        return Math.min(FAULT_DELAY_MS, settings.lanePollMs);
      })
      .then((waitMs) => {
        progress.notBeforeMs = Date.now() + waitMs;
        progress.step = undefined;
      });
  }

  /** Its pool of enqueued tokens has no room: smaller groups, later. */
  #full(): void {
    this.#groupRows = Math.max(LEAST_GROUP_ROWS, Math.floor(this.#groupRows / 2));
    this.#fullUntilMs = Date.now() + Math.min(60_000, this.#options.settings.lanePollMs * 2);
  }

  async #end(
    buy: LaneBuy,
    { recorded, paidUsd } = { recorded: new Set() as ReadonlySet<string>, paidUsd: 0 },
  ): Promise<void> {
    const { store, batchId, wake } = this.#options;
    const { key } = modelRef(buy.entry, buy.model);
    await this.#costs.settle(buy, paidUsd);
    const left = this.#rows.of(buy).flatMap(({ jobId }) => (recorded.has(jobId) ? [] : [jobId]));
    await releaseRows(store, batchId, buy.id, left);
    await endBuy(store, batchId, buy.id);
    this.#rows.release(left);
    this.#buys.delete(buy.id);
    this.#progress.delete(buy.id);
    this.#cursors.delete(key);
    this.#durations.delete(key);
    wake();
  }
}
