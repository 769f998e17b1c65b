import { randomUUID } from "node:crypto";
import { outputLimitOf } from "../../providers/answer-length.ts";
import { createBatches, hasBatches } from "../../providers/batches/create-batches.ts";
import { isUnknown } from "../../providers/batches/exchange.ts";
import {
  type BatchAnswer,
  type BatchRequest,
  batchCall,
  type ProviderBatch,
  type ProviderBatches,
} from "../../providers/batches/provider-batches.ts";
import { limitsOf, type StatedLimits } from "../../shared/budget.ts";
import { costUsd } from "../../shared/cost.ts";
import { toErrorRecord } from "../../shared/error-record.ts";
import { GlueError, InvalidRequestError, type LLMError, TokenLimitError } from "../../shared/errors.ts";
import type { Logger } from "../../shared/logger.ts";
import { type ModelRef, modelRef } from "../../shared/model-name.ts";
import { fingerprint } from "../../shared/providers.ts";
import { completionQueueName } from "../../shared/queue-name.ts";
import { emptyRecord, type ResultRecord } from "../../shared/records.ts";
import type { Settings } from "../../shared/settings.ts";
import type { Owner } from "../../shared/tenant.ts";
import { estimatePromptTokens } from "../../shared/token-estimate.ts";
import type { WireOptions } from "../../shared/wire-options.ts";
import { reserveCost, settleCost } from "../../store/cost-ledger.ts";
import {
  endBuy,
  intendBuy,
  type LaneBuy,
  readBuys,
  recordRow,
  releaseRows,
  saveBuy,
} from "../../store/lane-buy.ts";
import { noteDuration, readDurations } from "../../store/lane-durations.ts";
import { readLearnedLimits } from "../../store/learned-limits.ts";
import type { Store } from "../../store/store.ts";
import type { DiskIndex } from "../disk-index.ts";
import type { IndexRow } from "../index-row.ts";
import type { BatchRow, RowReader } from "../row-reader.ts";
import type { Window } from "../window.ts";
import { buysBatch, type LaneOptions } from "./lane-plan.ts";

const GROUP_ROWS = 5000;
const LEAST_GROUP_ROWS = 100;
/** Rows of a batch that may lie in provider batches at a time. */
const MAX_ROWS = 200_000;
const SCAN_ROWS = 500;
/** A row that the lane failed so often goes online. */
const MAX_TRIES = 2;
/** A list may lag behind: only after so long is a batch that it does not name taken for never made. */
const LIST_LAG_MS = 120_000;
const FAULT_DELAY_MS = 10_000;
/** Requests per minute that an account is taken to let through where nobody knows. */
const UNKNOWN_RPM = 300;
/** Output tokens that are held of a cost limit for a row that names no limit. */
const USUAL_OUTPUT = 1000;
/** No provider's batch lasts longer. */
const HOLD_MS = 3 * 86_400_000;

interface LaneBuyerOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
  owner: Owner;
  batchId: string;
  index: DiskIndex;
  reader: RowReader;
  wire?: WireOptions | undefined;
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

/**
 * Buys a batch's rows in their providers' batches, at a lower price, and reads in what these bring. Each arrow of the ladder
 * (taken → uploaded → asked for → made → ended → read in) is written down before the next one begins, so that whoever goes on after a
 * crash knows what may have been paid.
 */
export class LaneBuyer {
  readonly #options: LaneBuyerOptions;
  readonly #buys = new Map<string, LaneBuy>();
  readonly #progress = new Map<string, Progress>();
  /** Job id of a row → its buy. */
  #rows = new Map<string, string>();
  readonly #providers = new Map<string, ProviderBatches>();
  /** Rows that the lane cannot carry, or has failed. */
  readonly #online = new Set<string>();
  /** Rows that are being taken. */
  readonly #taking = new Set<string>();
  readonly #wanted = new Map<string, boolean>();
  /** Counts the changes that let rows go online. */
  freed = 0;
  /** What rows in provider batches would have cost more online, in USD. */
  savedUsd = 0;
  readonly #tries = new Map<string, number>();
  /** Models whose provider has refused its batches in this run, with the reason. */
  readonly #closed = new Map<string, string>();
  readonly #cursors = new Map<string, number>();
  readonly #durations = new Map<string, number[]>();
  #groupRows = GROUP_ROWS;
  /** Until when no further batch is asked for: the provider's pool is full. */
  #fullUntilMs = 0;
  #switchAtMs = Number.POSITIVE_INFINITY;
  #isBuying: Promise<void> | undefined;
  #learned = new Map<string, StatedLimits>();

  constructor(options: LaneBuyerOptions) {
    this.#options = options;
  }

  /** Finds what earlier runs have bought. */
  async open(): Promise<void> {
    const { buys, rows } = await readBuys(this.#options.store, this.#options.batchId);
    for (const buy of buys) this.#buys.set(buy.id, buy);
    // Rows whose buy is gone were all told; what still stands was left by a crash in between.
    for (const [jobId, buyId] of rows) if (this.#buys.has(buyId)) this.#rows.set(jobId, buyId);
    const orphans = [...rows].filter(([, buyId]) => !this.#buys.has(buyId));
    for (const [jobId, buyId] of orphans)
      await releaseRows(this.#options.store, this.#options.batchId, buyId, [jobId]);
  }

  /** Rows that lie in provider batches. */
  get rows(): number {
    return this.#rows.size;
  }

  /** Whether provider batches are still to be read in. */
  get isBusy(): boolean {
    return this.#buys.size > 0;
  }

  /** Where each provider batch stands. */
  status(): { model: string; id: string | undefined; state: string; rows: number; done: number }[] {
    return [...this.#buys.values()].map(({ entry, model, batchId, state, requests, seen, unknownSince }) => ({
      model: modelRef(entry, model).key,
      id: batchId,
      state:
        unknownSince !== undefined ? "unknown" : state === "created" ? (seen?.state ?? "in_progress") : state,
      rows: requests,
      done: seen?.done ?? 0,
    }));
  }

  /** Why models are asked online alone. */
  closedModels(): ReadonlyMap<string, string> {
    return this.#closed;
  }

  /** Returns whether a row must not be sent online now: a provider batch has it, or may get it. */
  keeps(jobId: string, model: ModelRef): boolean {
    if (this.#rows.has(jobId) || this.#taking.has(jobId)) return true;
    return !this.#online.has(jobId) && this.#wants(model);
  }

  /** Begins what is to be done now; `switchAtMs`: when rows that are left have to go online. */
  turn(windows: readonly Window[], switchAtMs: number): void {
    this.#switchAtMs = switchAtMs;
    for (const { model } of windows) {
      const isWanted = this.#wants(model);
      if (this.#wanted.get(model.key) && !isWanted) this.freed += 1;
      this.#wanted.set(model.key, isWanted);
    }
    for (const buy of this.#buys.values()) this.#go(buy);
    if (this.#isBuying !== undefined) return;
    this.#isBuying = this.#buyMore(windows)
      .catch((error: Error) =>
        this.#options.logger.warn({ fault: error.message }, "no provider batch was bought"),
      )
      .finally(() => {
        this.#isBuying = undefined;
      });
  }

  /** Rows are sent online from now on: no batch takes them any more. */
  sendOnline(jobIds: readonly string[]): void {
    if (this.#options.lanes) for (const jobId of jobIds) this.#online.add(jobId);
  }

  /** The row sender has taken the row's result. */
  forget(jobId: string): void {
    this.#rows.delete(jobId);
  }

  /** Asks all provider batches to end; what they have done by then is read in. */
  cancelAll(): void {
    for (const buy of this.#buys.values()) buy.cancelledAt ??= Date.now();
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#isBuying;
    await Promise.all([...this.#progress.values()].map(({ step }) => step));
    await Promise.all([...this.#providers.values()].map((provider) => provider.close()));
  }

  #wants(model: ModelRef): boolean {
    const { lanes, settings } = this.#options;
    if (!lanes?.lanes.includes("batch") || this.#closed.has(model.key)) return false;
    const entry = settings.providers[model.entry];
    if (!entry || !hasBatches(entry)) return false;
    const seen = this.#durations.get(model.key);
    // Until it is read how long they take, the row waits.
    return seen === undefined || buysBatch(Date.now(), this.#switchAtMs, seen);
  }

  /** Returns how many rows a second the account's limits let through online, as far as they are known. */
  rowsPerSecond(windows: readonly Window[]): number {
    const { limits } = this.#options.settings;
    const ofModel = ({ model }: Window) =>
      (limitsOf(limits, this.#learned, model.key).rpm?.perMinute ?? UNKNOWN_RPM) / 60;
    return windows.reduce((sum, window) => sum + ofModel(window), 0);
  }

  async #buyMore(windows: readonly Window[]): Promise<void> {
    this.#learned = await readLearnedLimits(this.#options.store);
    for (const window of windows) {
      const { model, stop } = window;
      if (!this.#durations.has(model.key))
        this.#durations.set(model.key, await readDurations(this.#options.store, model.key));
      while (!stop && this.#wants(model) && this.#rows.size < MAX_ROWS && Date.now() >= this.#fullUntilMs) {
        try {
          if (!(await this.#buyGroup(window))) break;
        } finally {
          this.#taking.clear();
        }
      }
    }
  }

  /** Takes the next rows of a model and begins to buy them. Returns whether there were any. */
  async #buyGroup(window: Window): Promise<boolean> {
    const { model, queue } = window;
    const { store, settings, batchId, logger } = this.#options;
    const provider = this.#provider(model.entry);
    const group: { jobId: string; row: IndexRow }[] = [];
    let bytes = 0;
    let mostUsd = 0;
    let endpoint: string | undefined;
    let cursor = this.#cursors.get(model.key) ?? 0;
    scan: while (group.length < Math.min(this.#groupRows, provider.maxRequests)) {
      const rows = this.#options.index.nextMissing(model.key, cursor, SCAN_ROWS);
      if (rows.length === 0) break;
      for (const row of rows) {
        const jobId = `${batchId}-${row.id}`;
        // What was free when the page was read may be done by now.
        const isFree = !this.#rows.has(jobId) && !this.#online.has(jobId) && !window.rows.has(jobId);
        if (isFree && this.#options.index.find(row.id)?.state === "missing") {
          // From here on nobody sends it online.
          this.#taking.add(jobId);
          const request = await this.#requestOf(provider, model, row);
          if (!request) this.#goOnline(jobId);
          else {
            endpoint ??= request.endpoint;
            // The next group begins with it.
            if (request.endpoint !== endpoint || bytes + row.bytes > provider.maxBytes / 2) break scan;
            bytes += row.bytes;
            mostUsd += request.mostUsd * provider.priceShare;
            group.push({ jobId, row });
          }
        }
        cursor = row.line;
        if (group.length >= Math.min(this.#groupRows, provider.maxRequests)) break scan;
      }
    }
    this.#cursors.set(model.key, cursor);
    if (group.length === 0 || endpoint === undefined) {
      this.#options.wake();
      return false;
    }
    const entry = settings.providers[model.entry];
    const buy: LaneBuy = {
      v: 1,
      id: randomUUID(),
      state: "intended",
      entry: model.entry,
      model: model.model,
      endpoint,
      requests: group.length,
      since: Date.now(),
    };
    if (!(await this.#hold(buy, mostUsd))) return true;
    const jobIds = group.map(({ jobId }) => jobId);
    const taken = new Set(await intendBuy(store, batchId, queue, buy, jobIds));
    for (const jobId of jobIds) {
      if (taken.has(jobId)) this.#rows.set(jobId, buy.id);
      else this.#goOnline(jobId);
    }
    if (taken.size === 0) {
      await this.#settle(buy, 0);
      return true;
    }
    this.#buys.set(buy.id, { ...buy, requests: taken.size });
    await saveBuy(store, batchId, { ...buy, requests: taken.size });
    logger.debug(
      { model: model.key, rows: taken.size, provider: entry?.name },
      "rows go to a provider batch",
    );
    this.#go(this.#buys.get(buy.id) as LaneBuy);
    return true;
  }

  /** Holds what a buy may cost of the batch's limit; false when that leaves too little: single calls go on with the rest. */
  async #hold(buy: LaneBuy, mostUsd: number): Promise<boolean> {
    const { hasCostLimit, store, logger } = this.#options;
    if (!hasCostLimit) return true;
    const outcome = await reserveCost(store, this.#ledgerOf(buy), mostUsd, HOLD_MS);
    if (outcome.kind === "reserved") return true;
    const key = modelRef(buy.entry, buy.model).key;
    this.#closed.set(key, "the cost limit leaves too little for a provider batch");
    logger.info({ model: key }, "the cost limit leaves too little for a provider batch; its rows go online");
    this.freed += 1;
    return false;
  }

  async #settle(buy: LaneBuy, usd: number): Promise<void> {
    const { hasCostLimit, store } = this.#options;
    if (hasCostLimit) await settleCost(store, this.#ledgerOf(buy), usd);
  }

  #ledgerOf({ id }: LaneBuy) {
    const { store, batchId } = this.#options;
    return { ledger: store.keys.batch(batchId), jobId: `lane-${id}`, callId: id };
  }

  #goOnline(jobId: string): void {
    this.#online.add(jobId);
    this.freed += 1;
  }

  async #requestOf(provider: ProviderBatches, model: ModelRef, row: IndexRow) {
    const { request } = await this.#options.reader.readRow(row);
    const call = batchCall(model, { request, wire: this.#options.wire });
    try {
      const [prompt, completion] = [estimatePromptTokens(request), outputLimitOf(request) ?? USUAL_OUTPUT];
      const most = { prompt, completion, total: prompt + completion, cached: 0 };
      const mostUsd = costUsd(this.#options.settings.prices, model, most) ?? 0;
      return { body: provider.bodyOf(call), endpoint: provider.endpointOf(call), mostUsd };
    } catch (error) {
      if (error instanceof GlueError) return undefined;
      throw error;
    }
  }

  #provider(entryName: string): ProviderBatches {
    const known = this.#providers.get(entryName);
    if (known) return known;
    const { settings } = this.#options;
    const entry = settings.providers[entryName];
    if (!entry) throw new Error(`no provider entry ${entryName}`);
    const made = createBatches(entry, { proxyVariables: settings.system.proxyVariables });
    this.#providers.set(entryName, made);
    return made;
  }

  /** Begins the next step of a buy, unless one is under way or it is too early. */
  #go(buy: LaneBuy): void {
    const progress = this.#progress.get(buy.id) ?? { step: undefined, notBeforeMs: 0 };
    this.#progress.set(buy.id, progress);
    if (progress.step || Date.now() < progress.notBeforeMs) return;
    progress.step = this.#step(buy)
      .then((waitMs) => {
        progress.notBeforeMs = Date.now() + waitMs;
      })
      .catch((error: Error) => {
        progress.notBeforeMs = Date.now() + Math.min(FAULT_DELAY_MS, this.#options.settings.lanePollMs);
        this.#options.logger.warn({ buy: buy.id, fault: error.message }, "a provider batch has to wait");
      })
      .finally(() => {
        progress.step = undefined;
      });
  }

  /** Does the next step of a buy; returns how long to wait until the one after. */
  async #step(buy: LaneBuy): Promise<number> {
    if (buy.state === "created") return this.#look(buy);
    if (buy.state === "creating") return this.#findUnknown(buy);
    if (buy.cancelledAt !== undefined || !this.#wants(modelRef(buy.entry, buy.model))) {
      // Nothing was asked for yet, and its time has passed.
      await this.#releaseAll(buy);
      return 0;
    }
    return this.#create(buy);
  }

  async #create(buy: LaneBuy): Promise<number> {
    const provider = this.#provider(buy.entry);
    const requests = await this.#requestsOf(buy, provider);
    if (requests.length === 0) {
      await this.#releaseAll(buy);
      return 0;
    }
    const { endpoint } = buy;
    const file = await provider.upload?.(requests, endpoint);
    await this.#save(buy, { state: "creating", file, requests: requests.length, since: Date.now() });
    const mark = { buyId: buy.id, since: buy.since, requests: requests.length };
    try {
      const made = await provider.create(mark, endpoint, { requests, ...(file !== undefined && { file }) });
      await this.#adopt(buy, made);
    } catch (error) {
      if (isUnknown(error)) {
        await this.#save(buy, { unknownSince: Date.now() });
        throw error;
      }
      await this.#refused(buy, error as LLMError);
    }
    return 0;
  }

  /** The same requests in every process: they are made of the input alone. */
  async #requestsOf(buy: LaneBuy, provider: ProviderBatches): Promise<BatchRequest[]> {
    const model = modelRef(buy.entry, buy.model);
    const requests: BatchRequest[] = [];
    for (const { row } of this.#rowsOf(buy)) {
      const request = await this.#requestOf(provider, model, row);
      if (request) requests.push({ customId: this.#customIdOf(buy, row), body: request.body });
    }
    return requests;
  }

  /** Of this buy alone, so that results tell whose they are. */
  #customIdOf(buy: LaneBuy, { id }: Pick<IndexRow, "id">): string {
    return `${id}-${buy.id.slice(0, 13)}`;
  }

  #rowsOf(buy: LaneBuy): { jobId: string; row: IndexRow }[] {
    const { batchId, index } = this.#options;
    const own = [...this.#rows].filter(([, owner]) => owner === buy.id);
    const rows = own.flatMap(([jobId]) => {
      const row = index.find(jobId.slice(batchId.length + 1));
      return row ? [{ jobId, row }] : [];
    });
    return rows.sort((a, b) => a.row.line - b.row.line);
  }

  async #adopt(buy: LaneBuy, made: ProviderBatch): Promise<void> {
    await this.#save(buy, {
      state: "created",
      batchId: made.id,
      unknownSince: undefined,
      seen: seenOf(made),
    });
    this.#options.logger.info(
      { model: modelRef(buy.entry, buy.model).key, rows: buy.requests, id: made.id },
      "bought a provider batch",
    );
  }

  /** The answer to its making was lost, or the process that asked for it. */
  async #findUnknown(buy: LaneBuy): Promise<number> {
    const provider = this.#provider(buy.entry);
    const { settings, lanes } = this.#options;
    if (buy.unknownSince === undefined) await this.#save(buy, { unknownSince: Date.now() });
    const mark = { buyId: buy.id, since: buy.since, requests: buy.requests };
    const { batches, isSure } = await provider.find(mark, buy.file);
    const others = new Set([...this.#buys.values()].map(({ batchId }) => batchId));
    const unclaimed = batches.filter(({ id }) => !others.has(id));
    if (isSure && unclaimed[0]) {
      await this.#adopt(buy, unclaimed[0]);
      return 0;
    }
    for (const batch of unclaimed.filter(({ state }) => state === "ended")) {
      if (!(await this.#isOf(buy, provider, batch))) continue;
      await this.#adopt(buy, batch);
      return 0;
    }
    const isOpen = unclaimed.some(({ state }) => state !== "ended");
    const waitedMs = Date.now() - (buy.unknownSince ?? Date.now());
    if (!isOpen && waitedMs >= Math.min(LIST_LAG_MS, settings.lanePollMs * 4)) {
      // The provider has no batch that could be this one: it was never made.
      await this.#save(buy, { state: "intended", unknownSince: undefined });
      return 0;
    }
    if (lanes?.onUnknown === "buy" && Date.now() >= this.#switchAtMs) {
      this.#options.logger.warn(
        { buy: buy.id, rows: buy.requests },
        "rows of an unknown provider batch are bought online",
      );
      await this.#releaseAll(buy);
    }
    return settings.lanePollMs;
  }

  /** Only the results of a batch name its requests. */
  async #isOf(buy: LaneBuy, provider: ProviderBatches, batch: ProviderBatch): Promise<boolean> {
    const own = new Set(this.#rowsOf(buy).map(({ row }) => this.#customIdOf(buy, row)));
    const any = batchCall(modelRef(buy.entry, buy.model), { request: { messages: [] } });
    for await (const { customId } of provider.results(batch, () => any)) return own.has(customId);
    return false;
  }

  async #look(buy: LaneBuy): Promise<number> {
    const { settings, lanes, store } = this.#options;
    const provider = this.#provider(buy.entry);
    const id = buy.batchId ?? "";
    const isLate = lanes !== undefined && Date.now() >= this.#switchAtMs;
    if (isLate) buy.cancelledAt ??= Date.now();
    let batch = await provider.get(id);
    if (batch.state === "in_progress" && buy.cancelledAt !== undefined) {
      await provider.cancel(id);
      batch = await provider.get(id);
    }
    await this.#save(buy, { seen: seenOf(batch) });
    this.#options.wake();
    if (batch.state === "failed") {
      await this.#failed(buy, batch);
      return 0;
    }
    if (batch.state !== "ended")
      return buy.cancelledAt === undefined ? settings.lanePollMs : Math.min(settings.lanePollMs, 5000);
    await this.#readIn(buy, provider, batch);
    if (batch.endedAt && buy.cancelledAt === undefined) {
      const key = modelRef(buy.entry, buy.model).key;
      await noteDuration(store, key, batch.endedAt - batch.createdAt);
      this.#durations.delete(key);
    }
    return 0;
  }

  /** Takes in all that a batch brought; it may be done again from the beginning. */
  async #readIn(buy: LaneBuy, provider: ProviderBatches, batch: ProviderBatch): Promise<void> {
    const rows = new Map(this.#rowsOf(buy).map((one) => [this.#customIdOf(buy, one.row), one]));
    const model = modelRef(buy.entry, buy.model);
    const read = new Map<string, BatchRow>();
    for (const [customId, { row }] of rows) read.set(customId, await this.#options.reader.readRow(row));
    const callOf = (customId: string) => {
      const { request } = read.get(customId) ?? { request: { messages: [] } };
      return batchCall(model, { request, wire: this.#options.wire });
    };
    let paidUsd = 0;
    const recorded = new Set<string>();
    for await (const answer of provider.results(batch, callOf)) {
      if ("reply" in answer)
        paidUsd +=
          (costUsd(this.#options.settings.prices, model, answer.reply.tokens) ?? 0) * provider.priceShare;
      const one = rows.get(answer.customId);
      const row = read.get(answer.customId);
      if (!one || !row) continue;
      if (await this.#take(buy, provider, one.jobId, row, answer)) recorded.add(one.jobId);
    }
    // What is left was not answered, and is free again.
    await this.#releaseAll(buy, paidUsd, recorded);
  }

  /** Records what came of a row; false when it is to be bought again. */
  async #take(
    buy: LaneBuy,
    provider: ProviderBatches,
    jobId: string,
    row: BatchRow,
    answer: BatchAnswer,
  ): Promise<boolean> {
    if ("unpaid" in answer) return false;
    if ("error" in answer && !isFinal(answer.error)) {
      const tries = (this.#tries.get(jobId) ?? 0) + 1;
      this.#tries.set(jobId, tries);
      return false;
    }
    const { store, settings, batchId, owner } = this.#options;
    const model = modelRef(buy.entry, buy.model);
    await recordRow(store, {
      batchId,
      buy,
      model,
      queue: completionQueueName(model),
      record: this.#recordOf(buy, provider, jobId, answer),
      customId: row.customId.slice(0, 200),
      line: row.line,
      retention: settings.retention,
      owner,
    });
    return true;
  }

  #recordOf(
    buy: LaneBuy,
    { priceShare }: ProviderBatches,
    jobId: string,
    answer: Exclude<BatchAnswer, { unpaid: unknown }>,
  ): ResultRecord {
    const { settings, owner } = this.#options;
    const entry = settings.providers[buy.entry];
    const target = {
      provider: { entry: buy.entry, fingerprint: entry ? fingerprint(entry) : "" },
      model: buy.model,
      tenant: owner.tenant,
    };
    if ("error" in answer) {
      const record = emptyRecord(jobId, target, "failed");
      return { ...record, error: { ...toErrorRecord(answer.error), attempts: 1 } };
    }
    const { reply } = answer;
    const full = costUsd(settings.prices, modelRef(buy.entry, buy.model), reply.tokens);
    this.savedUsd += (full ?? 0) * (1 - priceShare);
    return {
      ...emptyRecord(jobId, target, "succeeded"),
      lane: "batch",
      response: { statusCode: reply.statusCode, requestId: reply.requestId, body: reply.body },
      tokens: { ...reply.tokens },
      calls: 1,
      costUsd: full === null ? null : full * priceShare,
    };
  }

  /** The provider did not take the batch at all. */
  async #refused(buy: LaneBuy, error: LLMError): Promise<void> {
    const { logger } = this.#options;
    const key = modelRef(buy.entry, buy.model).key;
    if (error.status === 429) this.#isFull();
    else this.#closed.set(key, error.message);
    logger.warn({ model: key, fault: error.code }, "a provider refused a batch; its rows go another way");
    await this.#releaseAll(buy);
  }

  /** The provider took it, looked at it and gave it up; it costs nothing. */
  async #failed(buy: LaneBuy, { failure }: ProviderBatch): Promise<void> {
    const key = modelRef(buy.entry, buy.model).key;
    if (failure?.code === "token_limit_exceeded") this.#isFull();
    else this.#closed.set(key, failure?.message ?? "the batch failed");
    this.#options.logger.warn(
      { model: key, fault: failure?.code },
      "a provider batch failed; its rows go another way",
    );
    await this.#releaseAll(buy);
  }

  /** Its pool of enqueued tokens has no room: smaller groups, later. */
  #isFull(): void {
    this.#groupRows = Math.max(LEAST_GROUP_ROWS, Math.floor(this.#groupRows / 2));
    this.#fullUntilMs = Date.now() + Math.min(60_000, this.#options.settings.lanePollMs * 2);
  }

  /** @param recorded rows that stay held until the row sender has taken their result */
  async #releaseAll(buy: LaneBuy, paidUsd = 0, recorded: ReadonlySet<string> = new Set()): Promise<void> {
    const { store, batchId } = this.#options;
    await this.#settle(buy, paidUsd);
    const left = this.#rowsOf(buy).flatMap(({ jobId }) => (recorded.has(jobId) ? [] : [jobId]));
    await releaseRows(store, batchId, buy.id, left);
    await endBuy(store, batchId, buy.id);
    for (const jobId of left) {
      this.#rows.delete(jobId);
      if ((this.#tries.get(jobId) ?? 0) >= MAX_TRIES) this.#online.add(jobId);
    }
    this.freed += 1;
    this.#buys.delete(buy.id);
    this.#progress.delete(buy.id);
    this.#cursors.set(modelRef(buy.entry, buy.model).key, 0);
    this.#options.wake();
  }

  async #save(buy: LaneBuy, change: Partial<LaneBuy>): Promise<void> {
    Object.assign(buy, change);
    await saveBuy(this.#options.store, this.#options.batchId, buy);
  }
}

function seenOf({ state, total, done, expiresAt }: ProviderBatch): NonNullable<LaneBuy["seen"]> {
  return { state, total, done, expiresAt };
}

/** What another try would bring again. */
function isFinal(error: LLMError): boolean {
  return error instanceof InvalidRequestError || error instanceof TokenLimitError;
}
