import { randomUUID } from "node:crypto";
import type { CompletionPayload } from "../../shared/catalog.ts";
import type { Logger } from "../../shared/logger.ts";
import { type ModelRef, modelRef } from "../../shared/model-name.ts";
import type { LaneStatus } from "../../shared/records.ts";
import type { Lease } from "../../store/batch-lease.ts";
import { endBuy, intendBuy, type LaneBuy, readBuys, releaseRows, saveBuy } from "../../store/lane-buy.ts";
import type { DiskIndex } from "../disk-index.ts";
import type { RowJobs } from "../row-jobs.ts";
import type { Window } from "../window.ts";
import { LaneCosts } from "./lane-costs.ts";
import { LaneGroups } from "./lane-groups.ts";
import { LaneLadder } from "./lane-ladder.ts";
import { LaneOutlook } from "./lane-outlook.ts";
import type { LaneOptions, OnUnknown } from "./lane-plan.ts";
import { LaneRequests } from "./lane-requests.ts";
import { type Brought, LaneResults, type LaneResultsOptions } from "./lane-results.ts";
import { LaneRows } from "./lane-rows.ts";
import { laneStatus } from "./lane-status.ts";
import { LaneSteps } from "./lane-steps.ts";
import { rowGoods } from "./row-goods.ts";

/** Rows of a batch that may lie in provider batches at a time. */
const MAX_ROWS = 200_000;

interface LaneBuyerOptions extends LaneResultsOptions {
  logger: Logger;
  lease: Lease;
  index: DiskIndex;
  jobs: RowJobs;
  /** Whether the batch has a cost limit, whose ledger is its record. */
  hasCostLimit: boolean;
  /** Undefined: nothing more is bought; what earlier runs bought is brought to its end. */
  lanes: LaneOptions | undefined;
  onUnknown?: OnUnknown | undefined;
  /** Of a batch that a host of the API runs. */
  hosted?: object | undefined;
  /** Wakes the row sender. */
  wake: () => void;
}

/** Buys a batch's rows in their providers' batches, at a lower price, as long as these may be done in time. */
export class LaneBuyer {
  readonly #options: LaneBuyerOptions;
  readonly #rows: LaneRows;
  readonly #costs: LaneCosts;
  readonly #requests: LaneRequests;
  readonly #results: LaneResults;
  readonly #steps: LaneSteps;
  readonly #buys = new Map<string, LaneBuy>();
  readonly #groups: LaneGroups;
  readonly #outlook: LaneOutlook;
  /** By model: whether its rows were kept at the last turn. */
  readonly #wanted = new Map<string, { model: ModelRef; isWanted: boolean }>();
  #seenFreed = 0;
  #buying: Promise<void> | undefined;

  constructor(options: LaneBuyerOptions) {
    const { store, settings, reader, wire, batchId, index, jobs, hasCostLimit } = options;
    this.#options = options;
    this.#rows = new LaneRows(jobs, index);
    this.#costs = new LaneCosts(store, batchId, hasCostLimit);
    this.#requests = new LaneRequests(settings, reader, wire);
    this.#results = new LaneResults(options, this.#rows);
    this.#groups = new LaneGroups(store, index, this.#rows, this.#requests, settings.lanePollMs);
    this.#outlook = new LaneOutlook(store, settings, options.lanes);
    const ladder = new LaneLadder({
      ...options,
      goods: rowGoods(this.#rows, this.#requests, this.#results),
      site: {
        wants: ({ entry, model }) => this.#outlook.wants(modelRef(entry, model)),
        isLate: ({ entry, model }) => this.#outlook.isLate(modelRef(entry, model)),
        buysUnknown: () => options.onUnknown === "buy" && (!options.lanes || this.#outlook.isOnline),
        knownIds: () => new Set([...this.#buys.values()].map((buy) => buy.batchId)),
        full: (buy, poolTokens) => this.#groups.full(buy, poolTokens, this.#waitingTokens(buy)),
        close: (modelKey, reason) => this.#outlook.close(modelKey, reason),
        end: (buy, how) => this.#end(buy, how?.brought),
        wake: options.wake,
      },
    });
    this.#steps = new LaneSteps(ladder, options.logger, settings.lanePollMs);
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

  /** Where each provider batch stands; and whose rows go online though provider batches were asked for. */
  status(): LaneStatus[] {
    const isAsked = this.#options.lanes?.lanes.includes("batch");
    const online = [...(isAsked ? this.#wanted.values() : [])].flatMap(({ model }) => {
      const reason = this.#hasFreeRows(model) ? this.#outlook.whyNot(model) : undefined;
      return reason === undefined ? [] : { model: model.key, state: "online", rows: 0, done: 0, reason };
    });
    const { lanes, onUnknown = "wait", hosted } = this.#options;
    const unknownRows = {
      onUnknown,
      onlineAtMs: lanes && this.#outlook.onlineAtMs,
      isHosted: hosted !== undefined,
    };
    return [...[...this.#buys.values()].map((buy) => laneStatus(buy, unknownRows)), ...online];
  }

  /** Whether rows of the model have neither a result nor a provider batch. */
  #hasFreeRows({ entry, model, key }: ModelRef): boolean {
    const missing = this.#options.index.counts().models.get(key)?.missing ?? 0;
    const bought = [...this.#buys.values()].filter((buy) => buy.entry === entry && buy.model === model);
    return missing > bought.reduce((sum, { requests }) => sum + requests, 0);
  }

  /** Returns whether a row must not be sent online now: a provider batch has it, or may get it. */
  keeps(jobId: string, model: ModelRef): boolean {
    return this.#rows.isHeld(jobId) || (!this.#rows.isOnline(jobId) && this.#outlook.wants(model));
  }

  /** How a row that is sent now is bought; undefined: online, at once. */
  laneOf(model: ModelRef): CompletionPayload["lane"] {
    const until = this.#outlook.flexUntil(model);
    return until === undefined ? undefined : { kind: "flex", until };
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
    if (!this.#options.lanes && !this.isBusy) return this.#takeFreed();
    this.#outlook.turn(
      windows.map(({ model }) => model),
      missing,
    );
    for (const { model } of windows) {
      const isWanted = this.#outlook.wants(model);
      if (this.#wanted.get(model.key)?.isWanted && !isWanted) this.#rows.freed += 1;
      this.#wanted.set(model.key, { model, isWanted });
    }
    for (const buy of this.#buys.values()) this.#steps.go(buy);
    this.#buying ??= this.#buyMore(windows)
      .catch(({ message }: Error) =>
        this.#options.logger.warn({ fault: message }, "no provider batch was bought"),
      )
      .finally(() => {
        this.#buying = undefined;
      });
    return this.#takeFreed();
  }

  /** Whether rows may go online that could not when this was asked last. */
  #takeFreed(): boolean {
    const isFreed = this.#rows.freed !== this.#seenFreed;
    this.#seenFreed = this.#rows.freed;
    return isFreed;
  }

  /** Asks all provider batches to end; what they have done by then is read in. */
  cancelAll(): void {
    for (const buy of this.#buys.values()) {
      buy.cancelledAt ??= Date.now();
      this.#steps.go(buy);
    }
  }

  /** Waits for what is under way. Provider batches go on: another run reads them in. */
  async close(): Promise<void> {
    await this.#buying;
    await this.#steps.settle();
    await this.#requests.close();
  }

  async #buyMore(windows: readonly Window[]): Promise<void> {
    await this.#outlook.learn(windows.map(({ model }) => model));
    for (const window of windows) {
      const mayBuy = () =>
        !window.stop &&
        this.#outlook.wants(window.model) &&
        this.#rows.size < MAX_ROWS &&
        this.#groups.hasRoom(window.model.key);
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
    const { jobIds, endpoint, mostUsd, tokens } = await this.#groups.next(
      model,
      inFlight,
      this.#waitingTokens(model),
    );
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
      tokens,
      since: Date.now(),
    };
    if (!(await this.#costs.hold(buy, mostUsd))) {
      const reason = "the cost limit leaves too little for a provider batch";
      this.#outlook.close(model.key, reason);
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
      this.#steps.go(buy);
    }
    return true;
  }

  /** Tokens of the batch's buys of a model, but for the one given. */
  #waitingTokens({ entry, model, id }: { entry: string; model: string; id?: string }): number {
    return [...this.#buys.values()]
      .filter((buy) => buy.entry === entry && buy.model === model && buy.id !== id)
      .reduce((sum, { tokens }) => sum + tokens, 0);
  }

  async #end(
    buy: LaneBuy,
    { recorded, paidUsd }: Pick<Brought, "recorded" | "paidUsd"> = { recorded: new Set(), paidUsd: 0 },
  ): Promise<void> {
    const { store, batchId, wake } = this.#options;
    const { key } = modelRef(buy.entry, buy.model);
    // What nobody knows counts as held, from the end of the hold on.
    if (paidUsd !== undefined) await this.#costs.settle(buy, paidUsd);
    const left = this.#rows.of(buy).flatMap(({ jobId }) => (recorded.has(jobId) ? [] : [jobId]));
    await releaseRows(store, batchId, buy.id, left);
    await endBuy(store, batchId, buy.id);
    this.#rows.release(left);
    this.#buys.delete(buy.id);
    this.#steps.forget(buy.id);
    this.#groups.rescan(key);
    this.#outlook.relearn(key);
    wake();
  }
}
