import { ProducerQueues } from "../producers/queues.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import { ElectedSweep } from "../store/elected-sweep.ts";
import { clockOf } from "../store/redis-clock.ts";
import { healLimit, someLimits } from "../store/run-limits.ts";
import { forgetRun, oldRuns, overdueRuns, readRun, unlistOverdue } from "../store/run-record.ts";
import { endUnreadable, expireRun } from "./end-run.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { addJobAgain } from "./start-run.ts";

const SWEEP_MS = 3000;
/** How long a worker with the run's code has to end it by itself. */
const GRACE_MS = 3000;
const CHUNK = 100;

/**
 * Ends runs whose deadline has passed though nobody ends them: no worker has their workflow, or their job is gone; and puts limits right that
 * runs wait for. Every
 * worker process has a sweeper; one of them sweeps at a time.
 */
export class Sweeper {
  readonly #fleet: FleetAccess;
  readonly #sweep: ElectedSweep;
  /** Of the limits that are looked at next. */
  #cursor = "0";
  /** The place in the list of old runs from which to go on. */
  #oldFrom = 0;

  constructor({ clock, ...options }: Omit<FleetAccess, "queues"> & { clock: ClockWatch }) {
    const { store } = options;
    this.#fleet = { ...options, queues: new ProducerQueues(store) };
    const key = store.keys.workflowSweep;
    this.#sweep = new ElectedSweep({ store, key, everyMs: SWEEP_MS, clock, sweep: () => this.#sweepOnce() });
  }

  async #sweepOnce(): Promise<void> {
    await this.#endOverdue();
    const { store } = this.#fleet;
    const { names, cursor } = await someLimits(store, this.#cursor, CHUNK);
    this.#cursor = cursor;
    for (const name of names) {
      for (const runId of await healLimit(store, name, clockOf(store).now())) {
        await addJobAgain(this.#fleet, runId).catch((error: unknown) => {
          if (!isStoredLoss(error)) throw error;
          return endUnreadable(store, runId, error);
        });
      }
    }
  }

  async #endOverdue(): Promise<void> {
    const { store } = this.#fleet;
    const before = clockOf(store).now() - GRACE_MS;
    for (const runId of await overdueRuns(store, before, CHUNK)) {
      try {
        if (!(await this.#end(runId, before))) continue;
      } catch (error) {
        // Who asks for it is told; it must not keep the others from their end.
        if ((error as { code?: string }).code !== "corrupt_data") throw error;
      }
      await unlistOverdue(store, runId);
    }
    await this.#endOld(before);
  }

  /** Those without a deadline of their own, page by page; and what the list still has of those whose record is gone. */
  async #endOld(before: number): Promise<void> {
    const { store } = this.#fleet;
    const page = await oldRuns(store, before, this.#oldFrom, CHUNK);
    if (page.length < CHUNK) this.#oldFrom = 0;
    for (const runId of page) {
      const run = await readRun(store, runId).catch(() => "unreadable" as const);
      if (!run) await forgetRun(store, runId);
      else if (page.length === CHUNK) this.#oldFrom += 1;
      if (run && run !== "unreadable" && run.status === "running") await this.#end(runId, before);
    }
  }

  /** Returns whether its time was over: a retry may have given it a later one. */
  async #end(runId: string, before: number): Promise<boolean> {
    const { store, logger } = this.#fleet;
    const run = await readRun(store, runId);
    if (run?.status === "running" && run.deadlineAt > before) return false;
    const outcome = await expireRun(this.#fleet, runId);
    if (outcome === "ended") logger.warn({ runId }, "a run that no worker took has passed its deadline");
    return true;
  }

  async close(): Promise<void> {
    await this.#sweep.close();
    await within(CLOSE_MS, this.#fleet.queues.close());
  }
}
