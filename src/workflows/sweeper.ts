import { ProducerQueues } from "../producers/queues.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import { leadsSweep, overdueRuns, readRun, unlistRun } from "../store/run-record.ts";
import { expireRun } from "./end-run.ts";
import type { FleetAccess } from "./fleet-access.ts";

const SWEEP_MS = 3000;
/** How long a worker with the run's code has to end it by itself. */
const GRACE_MS = 3000;
const CHUNK = 100;

/**
 * Ends runs whose deadline has passed though nobody ends them: no worker has their workflow, or their job is gone. Every
 * worker process has a sweeper; one of them sweeps at a time.
 */
export class Sweeper {
  readonly #fleet: FleetAccess;
  readonly #clock: ClockWatch;
  readonly #timer: NodeJS.Timeout;
  #sweeping: Promise<void> | undefined;

  constructor({ clock, ...options }: Omit<FleetAccess, "queues"> & { clock: ClockWatch }) {
    this.#clock = clock;
    this.#fleet = { ...options, queues: new ProducerQueues(options.store) };
    this.#timer = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  #sweep(): void {
    // What Redis does not answer now is asked again.
    this.#sweeping ??= this.#sweepOnce()
      .catch(() => {})
      .finally(() => {
        this.#sweeping = undefined;
      });
  }

  async #sweepOnce(): Promise<void> {
    const { store, logger } = this.#fleet;
    if (this.#clock.isOff || !(await leadsSweep(store, SWEEP_MS))) return;
    const before = Date.now() - GRACE_MS;
    for (const runId of await overdueRuns(store, before, CHUNK)) {
      const run = await readRun(store, runId);
      // A retry may have given it a later one.
      if (run?.status === "running" && run.deadlineAt > before) continue;
      const outcome = await expireRun(this.#fleet, runId);
      if (outcome === "ended") logger.warn({ runId }, "a run that no worker took has passed its deadline");
      await unlistRun(store, runId, before);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await within(CLOSE_MS, this.#sweeping ?? Promise.resolve());
    await within(CLOSE_MS, this.#fleet.queues.close());
  }
}
