import type { ProducerQueues } from "../producers/queues.ts";
import { Wakeup } from "../producers/wakeup.ts";
import type { Logger } from "../shared/logger.ts";
import { Rate } from "../shared/rate.ts";
import type { Settings } from "../shared/settings.ts";
import type { Owner } from "../shared/tenant.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { hasBatch, readStop, stopBatch } from "../store/batch.ts";
import type { Lease } from "../store/batch-lease.ts";
import { releaseBlob } from "../store/blobs.ts";
import { askJobTimes, jobTimes } from "../store/bullmq-internals.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { registerQueue } from "../store/queue-registry.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { BatchEnd, HostedBatch } from "./batch-end.ts";
import type { BatchOutput } from "./batch-output.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { IndexRow } from "./index-row.ts";
import { LaneBuyer } from "./lanes/lane-buyer.ts";
import type { LaneOptions, OnUnknown } from "./lanes/lane-plan.ts";
import { ModelStops } from "./model-stops.ts";
import { MAX_ADD, NextRows } from "./next-rows.ts";
import { RestScan } from "./rest-scan.ts";
import { ResultCollector } from "./result-collector.ts";
import type { RowJobs } from "./row-jobs.ts";
import type { RowReader } from "./row-reader.ts";
import { RowSubmitter } from "./row-submitter.ts";
import { saveCounts } from "./save-counts.ts";
import type { InputScan } from "./scan-input.ts";
import type { Tally } from "./tally.ts";
import { adoptRows } from "./unsent-rows.ts";
import { type Window, Windows } from "./window.ts";

const RECONCILE_MS = 5000;
const WAIT_MS = 1000;
const SAVE_MS = 500;
/** Turns without a result after which the rest of a large input is scanned all the same. */
const HEAD_TURNS = 3;

export interface RowSenderOptions {
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  owner: Owner;
  queues: ProducerQueues;
  index: DiskIndex;
  scan: InputScan;
  reader: RowReader;
  jobs: RowJobs;
  output: BatchOutput;
  lease: Lease;
  tally: Tally;
  /** Writes the batch's record anew, for a Redis that lost it. */
  describe: () => Promise<void>;
  hosted?: HostedBatch | undefined;
  /** Of all rows; see `JobOptions`. */
  cache?: boolean;
  timeoutMs?: number;
  wire?: WireOptions | undefined;
  /** Whether the batch has a cost limit. */
  hasCostLimit?: boolean;
  /** By when all is to be done, and how it may be bought; absent: online, at once. */
  lanes?: LaneOptions | undefined;
  onUnknown?: OnUnknown | undefined;
  /** Names of the guardrails of its rows. */
  guardrails?: string[];
  /** The ids of the only rows that are sent; absent: all. */
  drawn?: readonly string[] | undefined;
}

/**
 * Drives one batch: sends missing rows through a window per queue, takes results off the done-list into the file,
 * acknowledges them, and puts back what Redis lost. The host (the CLI today) owns the files and the lease.
 */
export class RowSender {
  readonly #options: RowSenderOptions;
  readonly #batchId: string;
  readonly #windows = new Windows();
  readonly #next: NextRows;
  readonly #submitter: RowSubmitter;
  readonly #stops: ModelStops;
  readonly #lanes: LaneBuyer;
  readonly #results: ResultCollector;
  readonly #wakeup = new Wakeup();
  readonly #rest: RestScan;
  #end: BatchEnd | undefined;
  #turns = 0;
  #reconciledAt = performance.now();
  #savedAt = Number.NEGATIVE_INFINITY;
  readonly #rate = new Rate();

  constructor(options: RowSenderOptions) {
    this.#options = options;
    this.#batchId = options.output.batchId;
    this.#windows.addNew(options.index.models());
    this.#rest = new RestScan(options.scan, () => this.#wakeup.wake());
    this.#next = new NextRows(options);
    this.#submitter = new RowSubmitter(options, this.#batchId);
    this.#stops = new ModelStops({ ...options, rows: this.#next }, this.#batchId, this.#windows.all);
    this.#results = new ResultCollector({
      ...options,
      windows: this.#windows,
      forget: (jobId) => this.#forget(jobId),
    });
    const wake = () => this.#wakeup.wake();
    this.#lanes = new LaneBuyer({
      ...options,
      batchId: this.#batchId,
      lanes: options.lanes,
      hasCostLimit: options.hasCostLimit ?? false,
      wake,
    });
  }

  /** Sends rows and collects results until the end. After `signal` aborts, waiting rows are withdrawn and active ones waited for. */
  async run(signal: AbortSignal): Promise<BatchEnd> {
    const { logger, store } = this.#options;
    const wake = () => this.#wakeup.wake();
    signal.addEventListener("abort", wake, { once: true });
    using _ = await store.notifier.listen({ [`batch:${this.#batchId}`]: wake });
    // What an earlier run left on the done-list is known before its rows are sent again.
    while ((await this.#results.collect()) > 0);
    await untilTaken(logger, () => this.#saveCounts(), signal);
    await this.#lanes.open();
    try {
      for (;;) {
        const end = await untilTaken(logger, () => this.#turn(signal), signal);
        if (end) return end;
      }
    } finally {
      await this.#rest.stop();
      await this.#lanes.close();
    }
  }

  /** May be broken off anywhere and begun again. */
  async #turn(signal: AbortSignal): Promise<BatchEnd | undefined> {
    this.#options.lease.check();
    const collected = await this.#results.collect();
    this.#end ??= await this.#findEnd(signal);
    if (this.#end) {
      await this.#withdraw(this.#windows.all);
      const isOver = this.#end.kind === "cancelled" || this.#options.hosted?.unsent(this.#end) !== undefined;
      if (isOver) this.#lanes.cancelAll();
      if (this.#windows.inFlight === 0 && !(isOver && this.#lanes.isBusy)) {
        // A row that ended before its job was withdrawn has left its result.
        while ((await this.#results.collect()) > 0);
        return this.#end;
      }
    } else {
      await this.#withdraw(this.#windows.all.filter(({ stop }) => stop));
      const isFreed = this.#lanes.turn(this.#windows.all, this.#options.index.counts().missing);
      if (isFreed) for (const window of this.#windows.all) this.#next.rescan(window);
      await this.#refill();
      const isAllDone = this.#rest.isComplete && this.#next.missing() === 0;
      if (isAllDone && !this.#lanes.isBusy) return { kind: this.#options.drawn ? "interrupted" : "finished" };
      // The first rows go out before the process is busy with the others.
      const isBusy = this.#options.index.counts().missing > 0 && this.#turns < HEAD_TURNS;
      if (collected > 0 || !isBusy) this.#rest.start();
      this.#turns += 1;
      if (performance.now() - this.#reconciledAt > RECONCILE_MS) await this.#reconcile();
    }
    if (collected === 0) await this.#wakeup.wait(WAIT_MS);
    await this.#saveCounts();
    return undefined;
  }

  async #findEnd(signal: AbortSignal): Promise<BatchEnd | undefined> {
    const { fault } = this.#rest;
    const end: BatchEnd | undefined = fault
      ? { kind: "faulted", error: fault }
      : signal.aborted
        ? { kind: "interrupted" }
        : await this.#readStop();
    if (end) {
      const { store } = this.#options;
      const told = { code: end.kind, category: "cancelled", message: `the batch was ${end.kind}` } as const;
      await stopBatch(store, this.#batchId, end.kind === "stopped" ? end.error : told);
      if (this.#options.hosted?.unsent(end)) await adoptRows(this.#options, this.#windows.all);
    }
    return end;
  }

  /** The operator's or a worker's word that the batch must not go on. */
  async #readStop(): Promise<BatchEnd | undefined> {
    const stop = await readStop(this.#options.store, this.#batchId);
    if (stop === "cancelled") return { kind: "cancelled" };
    if (stop) return { kind: "stopped", error: stop };
    const reason = await this.#stops.look({ isScanned: this.#rest.isComplete });
    return reason && { kind: "stopped", ...reason };
  }

  /** The row is no longer in flight: its window has room again and its request's blob goes. */
  async #forget(jobId: string): Promise<void> {
    const { store } = this.#options;
    this.#submitter.forget(jobId);
    this.#lanes.forget(jobId);
    const row = this.#windows.delete(jobId);
    if (row?.blob) await releaseBlob(store, row.blob, jobId);
  }

  async #refill(): Promise<void> {
    this.#windows.addNew(this.#options.index.models());
    const isScanned = this.#rest.isComplete;
    for (const window of this.#windows.all) {
      const isFree = (id: string) => this.#isFree(window, id);
      while (!window.stop) {
        const rows = await this.#next.take(window, { isFree, isScanned });
        if (rows.length === 0) break;
        this.#lanes.sendOnline(rows.map(({ id }) => this.#options.jobs.jobIdOf(id)));
        await this.#send(window, rows, this.#options.output.resumed);
      }
    }
  }

  #send(window: Window, rows: readonly IndexRow[], again: boolean): Promise<void> {
    return this.#submitter.send(window, rows, { again, lane: this.#lanes.laneOf(window.model) });
  }

  #isFree(window: Window, id: string): boolean {
    const jobId = this.#options.jobs.jobIdOf(id);
    return !window.rows.has(jobId) && !this.#lanes.keeps(jobId, window.model);
  }

  /** Takes rows back that no worker has begun; active ones stay in flight until they end or wait again. */
  async #withdraw(windows: readonly Window[]): Promise<void> {
    for (const window of windows) {
      const queue = await this.#options.queues.of(window.model);
      const jobIds = [...window.rows.keys()];
      for (let i = 0; i < jobIds.length; i += MAX_ADD) {
        const group = jobIds.slice(i, i + MAX_ADD);
        const removed = await Promise.all(group.map((id) => queue.remove(id)));
        for (const [j, id] of group.entries()) if (removed[j] === 1) await this.#forget(id);
      }
    }
  }

  /** Sends again what is in flight for us but unknown to Redis, which was emptied or lost its last second. */
  async #reconcile(): Promise<void> {
    const { index, logger, store } = this.#options;
    for (const window of this.#windows.all.filter(({ stop }) => !stop)) {
      const lost = await this.#findLost(window);
      if (lost.length === 0) continue;
      logger.warn({ queue: window.queue, rows: lost.length }, "rows vanished from Redis; sending them again");
      await registerQueue(store, window.queue, this.#options.settings.maxQueues);
      if (!(await hasBatch(store, this.#batchId))) await this.#options.describe();
      for (let i = 0; i < lost.length; i += MAX_ADD) {
        const rows = lost.slice(i, i + MAX_ADD).flatMap((id) => index.find(id) ?? []);
        await this.#send(window, rows, true);
      }
    }
    this.#reconciledAt = performance.now();
  }

  /** The ids of the window's rows that will bring no result. */
  async #findLost(window: Window): Promise<string[]> {
    const { store, index } = this.#options;
    const jobIds = [...window.rows.keys()];
    const pipeline = store.redis.pipeline();
    for (const jobId of jobIds) askJobTimes(pipeline, store, window.queue, jobId);
    const replies = (await pipeline.exec()) ?? [];
    const suspects = jobIds.filter((_, i) => {
      const times = jobTimes(replies[i]?.[1] ?? []);
      return !times || times.endedAt !== undefined;
    });
    suspects.push(...(await this.#submitter.released(window)));
    // A row that ended meanwhile is on the done-list: only what is still in flight after reading it is lost.
    if (suspects.length > 0) while ((await this.#results.collect()) > 0);
    const lost: string[] = [];
    for (const jobId of suspects) {
      const id = window.rows.get(jobId)?.id;
      if (id && index.find(id)?.state === "missing") lost.push(id);
      else await this.#forget(jobId);
    }
    return lost;
  }

  async #saveCounts(): Promise<void> {
    this.#options.tally.lanes = this.#lanes.status();
    if (performance.now() - this.#savedAt < SAVE_MS) return;
    this.#savedAt = performance.now();
    const { succeeded, failed } = this.#options.index.counts();
    const pace = { inFlight: this.#windows.inFlight, rowsPerSecond: this.#rate.add(succeeded + failed) };
    await saveCounts(this.#options, this.#batchId, pace);
  }
}
