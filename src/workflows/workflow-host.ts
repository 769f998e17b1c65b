import { DelayedError, UnrecoverableError, WaitingChildrenError } from "bullmq";
import type { LRUCache } from "lru-cache";
import { ProducerQueues } from "../producers/queues.ts";
import type { AgentParts } from "../shared/agent.ts";
import { MAX_RUNS_AT_WORK, WORKFLOW_QUEUE, workflowQueue } from "../shared/catalog.ts";
import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { forgetLostWorkers, lostWorkers, putBacksOf, unfitWorkersOf } from "../store/bullmq-internals.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { type ActiveJob, JobLoop } from "../store/job-loop.ts";
import { putBack, putBackMs } from "../store/put-back.ts";
import { notifyRun } from "../store/run-journal.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { endUnreadable } from "./end-run.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { keepLiveRuns, type LiveRun } from "./live-run.ts";
import { processRun } from "./process-run.ts";
import type { RunEnd } from "./run-input.ts";
import { ServedQueues } from "./served-queues.ts";
import { announceSignals } from "./signal-schemas.ts";
import { addJobAgain } from "./start-run.ts";
import type { AnyWorkflow } from "./workflow.ts";

export interface WorkflowHostOptions {
  /** The process's connections, which stay its owner's to end. */
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  workflows: readonly AnyWorkflow[];
  /** Counts runs and steps; absent: nobody asked for metrics. */
  metrics?: Metrics | undefined;
  /** Compared with Redis' clock by whoever made it. */
  clock?: ClockWatch;
  /** Told of each tool that a call brings along, for the workers of this process. */
  offerParts?: (parts: AgentParts) => void;
  /** Retrievers and evaluators that runs may call, by reference. */
  functions?: ReadonlyMap<string, StepFunction>;
  /** Of the process, as its card has it; default: one that no card has. */
  workerId?: string;
  /** Runs of each workflow whose functions are at work at a time; suspended ones do not count. Default 100. */
  concurrency?: number;
  /** Suspended functions kept in memory for ten minutes, so that they need no replay in this process; 0 keeps none. Default 1,000. */
  stickyRuns?: number;
  /** What they were given in all, in bytes of JSON; default 64 MiB. */
  stickyBytes?: number;
}

/** One for all: to tell where it was thrown costs more than the rest of it, and nobody asks. */
const ASLEEP = new WaitingChildrenError();
/** A run that cannot go on here is offered to others after so long at first, doubling to the longest time. */
const FIRST_PUT_BACK_MS = 50;
const [EARLY_PUT_BACKS, EARLY_PUT_BACK_MS] = [30, 800];

/**
 * Runs workflows in this process: takes their jobs, turn by turn, from the queue of each workflow it has. Each has its own
 * bound, so that runs whose work hangs keep no others from theirs.
 */
export class WorkflowHost {
  readonly #options: WorkflowHostOptions;
  readonly #store: ConnectedStore;
  readonly #queues: ProducerQueues;
  readonly #served: ServedQueues;
  /** The runs whose turn is under way here. */
  readonly #active = new Set<string>();
  readonly #cache: LRUCache<string, LiveRun> | undefined;
  readonly #workflows: ReadonlyMap<string, AnyWorkflow>;

  constructor(options: WorkflowHostOptions) {
    const { store, workflows, stickyRuns = 1000, stickyBytes = 64 * 2 ** 20 } = options;
    this.#options = options;
    this.#store = store;
    this.#queues = new ProducerQueues(this.#store, options.settings.maxQueues);
    this.#cache = stickyRuns > 0 ? keepLiveRuns(stickyRuns, stickyBytes) : undefined;
    this.#workflows = new Map(workflows.map((workflow) => [workflow.name, workflow]));
    const names = [WORKFLOW_QUEUE, ...workflows.map(({ name }) => workflowQueue(name))];
    this.#served = new ServedQueues(store, names, (queue) => this.#loopOf(queue));
    // Without it a signal is checked by the run alone.
    announceSignals(store, workflows).catch((error: Error) =>
      options.logger.warn({ fault: error.message }, "the signals of workflows could not be told"),
    );
  }

  /** The version of each workflow, by its name. */
  get versions(): Record<string, number> {
    return Object.fromEntries([...this.#workflows].map(([name, { version }]) => [name, version]));
  }

  #loopOf(queue: string): JobLoop {
    const { settings, logger, clock, concurrency = MAX_RUNS_AT_WORK } = this.#options;
    return new JobLoop({
      store: this.#store,
      queue,
      logger,
      lockMs: settings.lockMs,
      concurrency,
      keepsFreeLocks: true,
      clock,
      // The run's record and journal have all that its job had.
      onUnreadable: (runId) => addJobAgain(this.#fleet, runId),
      process: (active) => this.#process(active),
    });
  }

  get #fleet(): FleetAccess {
    const { settings, logger, metrics } = this.#options;
    return { store: this.#store, settings, queues: this.#queues, logger, metrics };
  }

  async #process(active: ActiveJob): Promise<unknown> {
    const { job, jobId: runId, token, signal, withoutSlot } = active;
    let live: LiveRun | undefined;
    let isOver = false;
    this.#active.add(runId);
    try {
      const end = await processRun({
        fleet: this.#fleet,
        workflows: this.#workflows,
        functions: this.#options.functions ?? new Map(),
        offerParts: this.#options.offerParts ?? (() => {}),
        cache: this.#cache,
        runId,
        token,
        lostWorkers: lostWorkers(job),
        workerId: this.#options.workerId ?? "",
        unfit: unfitWorkersOf(job),
        onLossNoted: () => forgetLostWorkers(this.#store, job),
        signal,
        withoutSlot,
        onLive: (present) => {
          live = present;
        },
        onActivity: () => this.#wake(runId),
      });
      isOver = end.kind === "succeeded" || end.kind === "failed";
      return await this.#settle(active, end);
    } catch (error) {
      return await this.#settleFault(active, error);
    } finally {
      this.#active.delete(runId);
      // Asked for while its worker put it to sleep: nobody has looked.
      if (!isOver && live?.execution.hasNews) this.#wake(runId);
    }
  }

  async #settle(active: ActiveJob, end: RunEnd): Promise<unknown> {
    const { job } = active;
    switch (end.kind) {
      case "suspended":
        if (putBacksOf(job) > 0) await job.updateProgress({});
        throw ASLEEP;
      case "fenced":
        // Another worker holds it already: BullMQ is told that it moved, and nothing is touched.
        throw new DelayedError();
      case "putBack": {
        // Soon again at first: chance may give it to the same worker several times, beside one that can take it.
        const longestMs = putBacksOf(job) < EARLY_PUT_BACKS ? EARLY_PUT_BACK_MS : putBackMs();
        const delayMs = Math.min(longestMs, FIRST_PUT_BACK_MS * 2 ** putBacksOf(job));
        return this.#putBack(active, delayMs, end.reason, end.unfit);
      }
      case "succeeded":
        return end.summary;
      case "failed": {
        throw withoutStack(new UnrecoverableError(end.reason));
      }
    }
  }

  /** Faults of Redis, and bugs: the run goes on where its journal ends. */
  async #settleFault(active: ActiveJob, error: unknown): Promise<never> {
    const { jobId: runId, signal } = active;
    if (error instanceof DelayedError || error instanceof WaitingChildrenError) throw error;
    if (error instanceof UnrecoverableError) throw error;
    this.#cache?.delete(runId);
    if (signal.reason === "draining") return this.#putBack(active, 0, "its worker stopped");
    const { logger } = this.#options;
    const { message, stack, name } = error as Error;
    if (isStoredLoss(error)) {
      logger.error({ runId, fault: message }, "a run cannot go on");
      await endUnreadable(this.#store, runId, error);
      throw withoutStack(new UnrecoverableError(`${error.code}: ${message}; ${error.hint}`));
    }
    if (!signal.aborted)
      logFault(
        logger,
        name === "ReplyError" ? message : name,
        { runId, stack },
        "unexpected fault in a run's turn",
      );
    return this.#putBack(active, putBackMs(), "its worker had a fault; see its log");
  }

  #putBack(
    active: ActiveJob,
    delayMs: number,
    reason: string,
    unfit: readonly string[] = unfitWorkersOf(active.job),
  ): Promise<never> {
    return putBack(active, { delayMs, reason, putBacks: putBacksOf(active.job) + 1, unfit });
  }

  /** A function that awaits something of its own went on while its run was suspended. */
  #wake(runId: string): void {
    if (this.#active.has(runId)) return;
    notifyRun(this.#store, runId).catch(() => {});
  }

  /** Takes no more runs; turns under way have `drainMs` (default 30 s), then they go back. */
  async close({ drainMs = 30_000 }: { drainMs?: number } = {}): Promise<void> {
    await this.#served.close(drainMs);
    await within(CLOSE_MS, this.#queues.close());
  }
}

/** Bull Board shows stacks, and ours say nothing that the message does not. */
function withoutStack(error: Error): Error {
  error.stack = error.message;
  return error;
}
