import { channel } from "node:diagnostics_channel";
import { DelayedError } from "bullmq";
import { CompletionProducer } from "../producers/completion-producer.ts";
import { ProducerQueues } from "../producers/queues.ts";
import { SCHEDULE_QUEUE } from "../shared/catalog.ts";
import { ConfigurationError, GlueError, InputError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import { isStoredLoss, isWrongType } from "../shared/stored-data.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { ElectedSweep } from "../store/elected-sweep.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import { LoopOnDemand } from "../store/loop-on-demand.ts";
import { PUT_BACK_MS, putBack, putBackMs } from "../store/put-back.ts";
import { clockOf } from "../store/redis-clock.ts";
import { readSchedule, scheduleIds } from "../store/schedule.ts";
import { noteStart, takeTicks } from "../store/schedule-ticks.ts";
import { type Definition, dueTicks, readDefinition } from "./definition.ts";
import { type ScheduleAccess, startAction } from "./start-action.ts";
import { plannedTime, TickJobs } from "./tick-jobs.ts";
import { repeatStrategy } from "./times.ts";

export interface TickerOptions {
  /** The process's connections, which stay its owner's to end. */
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  clock: ClockWatch;
}

const LOOK_MS = 1000;
const SWEEP_MS = 10_000;
const CONCURRENCY = 20;
/** A tick that waits for an earlier run looks again after so long at first, doubling to `PUT_BACK_MS`. */
const FIRST_LOOK_MS = 100;
/** A tick may be taken so long before its time; earlier than that it waits on. */
const MAX_EARLY_MS = 1000;

/** Tells of each point of a tick that this process has reached. */
const reached = channel("gluellm:tick");

/** Runs the ticks of schedules in this process, whatever they start: any worker may. */
export class Ticker {
  readonly #options: TickerOptions;
  readonly #access: ScheduleAccess;
  readonly #jobs: TickJobs;
  readonly #loop: LoopOnDemand;
  readonly #sweep: ElectedSweep;

  constructor(options: TickerOptions) {
    const { store, settings, logger, clock } = options;
    this.#options = options;
    this.#access = {
      ...options,
      queues: new ProducerQueues(store, settings.maxQueues),
      producer: new CompletionProducer({ store, settings }),
    };
    this.#jobs = new TickJobs(store);
    this.#loop = new LoopOnDemand(
      {
        ...{ store, logger, clock, repeatStrategy },
        queue: SCHEDULE_QUEUE,
        lockMs: settings.lockMs,
        concurrency: CONCURRENCY,
        process: (active) => this.#process(active),
      },
      LOOK_MS,
    );
    this.#sweep = new ElectedSweep({
      ...{ store, clock, key: store.keys.scheduleSweep, everyMs: SWEEP_MS },
      sweep: () => this.#repair(),
    });
  }

  async #process(active: ActiveJob): Promise<unknown> {
    const { store, logger } = this.#options;
    const { job, jobId } = active;
    const id = job.name;
    reached.publish("taken");
    try {
      const schedule = await readSchedule(store, id);
      if (!schedule) {
        await this.#jobs.disarm(id);
        return { status: "deleted" };
      }
      const definition = readDefinition(id, schedule.definition);
      // BullMQ hands out jobs by this machine's clock.
      const earlyMs = plannedTime(jobId) - (await clockOf(store).fresh());
      const now = clockOf(store).now() + (earlyMs <= MAX_EARLY_MS ? Math.max(0, earlyMs) : 0);
      const taken = await takeTicks(store, id, jobId, dueTicks(definition, schedule.doneUntil, now));
      reached.publish("decided");
      if (!taken) return { status: "paused" };
      for (const key of taken.starting) await this.#start(active, id, definition, key);
      if (!taken.isWaiting && earlyMs <= MAX_EARLY_MS) return { status: "done" };
      if (!taken.isWaiting) return await putBack(active, { delayMs: earlyMs, reason: "its time" });
    } catch (error) {
      if (!(error instanceof GlueError)) throw error;
      logger.warn({ schedule: id, fault: error.message }, "a tick of a schedule has to wait");
      return putBack(active, { delayMs: putBackMs(), reason: error.message });
    }
    const { putBacks = 0 } = Object(job.progress) as { putBacks?: number };
    const delayMs = Math.min(PUT_BACK_MS, FIRST_LOOK_MS * 2 ** putBacks);
    return putBack(active, { delayMs, reason: "the end of the run before", putBacks: putBacks + 1 });
  }

  /** @throws DelayedError when another worker has to do it; what passes */
  async #start(active: ActiveJob, id: string, definition: Definition, key: string): Promise<void> {
    const { store, logger } = this.#options;
    try {
      const run = await startAction(this.#access, definition, id, key);
      if ("lacks" in run) return await putBack(active, { delayMs: putBackMs(), reason: run.lacks });
      reached.publish("started");
      await noteStart(store, id, key, { run });
      reached.publish("noted");
      logger.debug({ schedule: id, run: run.id }, "a schedule has started a run");
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      if (!(error instanceof InputError) || error instanceof ConfigurationError) throw error;
      logger.error({ schedule: id, fault: error.message }, "a schedule's run cannot be started");
      await noteStart(store, id, key, { error: error.message });
    }
  }

  /** Who created, paused or deleted a schedule may not have lived to tell BullMQ; and a tick's job may have been removed. */
  async #repair(): Promise<void> {
    for (const id of await scheduleIds(this.#options.store)) {
      await this.#repairOne(id).catch((error: unknown) => {
        // One that is damaged must not keep the others from ticking.
        if (!isStoredLoss(error) && !isWrongType(error)) throw error;
        this.#options.logger.warn(
          { schedule: id, fault: (error as Error).message },
          "a schedule cannot tick",
        );
      });
    }
  }

  async #repairOne(id: string): Promise<void> {
    const { store, logger } = this.#options;
    const schedule = await readSchedule(store, id);
    if (!schedule) return;
    const isArmed = await this.#jobs.isArmed(id);
    if (schedule.paused === !isArmed) return;
    logger.warn({ schedule: id }, schedule.paused ? "a paused schedule ticked" : "a schedule did not tick");
    if (schedule.paused) await this.#jobs.disarm(id);
    else await this.#jobs.arm(id, readDefinition(id, schedule.definition));
  }

  /** Takes no more ticks; what one has begun is gone on with by other workers. */
  async close(): Promise<void> {
    await this.#loop.close();
    await this.#sweep.close();
    const { queues, producer } = this.#access;
    await within(CLOSE_MS, Promise.all([this.#jobs.close(), queues.close(), producer.close()]));
  }
}
