import { randomUUID } from "node:crypto";
import { ProducerQueues } from "../producers/queues.ts";
import { Wakeup } from "../producers/wakeup.ts";
import { activityOfQueue, activityQueue } from "../shared/catalog.ts";
import { fromErrorRecord } from "../shared/error-record.ts";
import { GlueError, JobLostError } from "../shared/errors.ts";
import { encode } from "../shared/serialize.ts";
import { isOwnedBy } from "../shared/tenant.ts";
import { currentToolRun, nestingHere } from "../shared/tool-run.ts";
import { isBlobRef } from "../store/blobs.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import { notifyRun, type RunJournalEntry, readRunJournal } from "../store/run-journal.ts";
import { listRuns, type RunFilter } from "../store/run-list.ts";
import { goesOn, inlineOrRunBlob, isBounded, type RunRecord, readRun } from "../store/run-record.ts";
import { keepSteps } from "../store/run-retention.ts";
import { readWorkerCards } from "../store/worker-card.ts";
import { askUpdate } from "./ask-update.ts";
import { cancelRun } from "./end-run.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { type ForkOptions, forkEntries } from "./fork.ts";
import { retryRun } from "./retry-run.ts";
import { runOver } from "./run-errors.ts";
import { endedWith, type RunStatus, type RunStep, readRunStatus, stepsOf } from "./run-status.ts";
import { inputOf, outputOf } from "./run-values.ts";
import { checkSignal, type RunSignal, signalsOfRun } from "./signal-schemas.ts";
import { inputDigestForm, type RunStart, startRun } from "./start-run.ts";
import { mayFitElsewhere } from "./version-routing.ts";

/** Pub/sub may drop a message when the connection does: a look at the record every few seconds makes up for it. */
const POLL_MS = 5000;

/** Of jobs that have not ended. */
const OPEN_STATES = ["waiting", "prioritized", "delayed", "active"] as const;

/** A version of a workflow that workers have. */
export interface WorkflowVersion {
  workflow: string;
  version: number;
  /** The worker processes that have it, as `host:pid`. */
  workers: string[];
}

/** An activity that workers have, or that runs wait for. */
export interface ActivityWorkers {
  activity: string;
  /** The worker processes that have it, as `host:pid`; none: runs wait for one. */
  workers: string[];
  /** The jobs that have not ended. */
  open: number;
}

type RunDefaults = Pick<RunStart, "defaultModel" | "providerOptions">;

/** Starts workflow runs and follows them. */
export class WorkflowRuns {
  readonly #fleet: FleetAccess;
  readonly #defaults: RunDefaults;
  readonly #closing = new AbortController();

  /** @param options `defaultModel` and `providerOptions`: of the runs that it starts */
  constructor({ defaultModel, providerOptions, ...options }: Omit<FleetAccess, "queues"> & RunDefaults) {
    this.#defaults = { defaultModel, providerOptions };
    this.#fleet = { ...options, queues: new ProducerQueues(options.store, options.settings.maxQueues) };
  }

  /** @throws InputError `run_conflict` when the id stands for another workflow or input; `nesting_too_deep`. */
  async start(start: RunStart): Promise<string> {
    const { tenant, by } = currentToolRun()?.owner ?? {};
    // What a tool starts belongs to whom its job does.
    const owner = { tenant: start.tenant ?? tenant, by: start.by ?? by };
    const defaults = { ...this.#defaults, nesting: nestingHere() };
    return startRun(this.#fleet, { ...defaults, ...start, ...owner });
  }

  /** @throws JobLostError when there is no such run (any more), or it is another tenant's. */
  async requireOwn(runId: string, tenant: string): Promise<void> {
    if (!isOwnedBy(tenant, await this.read(runId))) throw new JobLostError(runId, "run");
  }

  /** @throws JobLostError when there is no such run (any more). */
  async read(runId: string): Promise<RunRecord> {
    const run = await readRun(this.#fleet.store, runId);
    if (!run) throw new JobLostError(runId, "run");
    return run;
  }

  async status(runId: string): Promise<RunStatus> {
    return readRunStatus(this.#fleet, await this.read(runId));
  }

  async steps(runId: string): Promise<RunStep[]> {
    const run = await this.read(runId);
    return endedWith(run, stepsOf(await readRunJournal(this.#fleet.store, runId), run));
  }

  /** Which worker processes have which versions of which workflows now. */
  async versions(): Promise<WorkflowVersion[]> {
    const found = new Map<string, WorkflowVersion>();
    for (const { host, pid, versions } of await readWorkerCards(this.#fleet.store)) {
      for (const [workflow, version] of Object.entries(versions)) {
        const key = `${workflow}@${version}`;
        const known = found.get(key) ?? { workflow, version, workers: [] };
        found.set(key, { ...known, workers: [...known.workers, `${host}:${pid}`] });
      }
    }
    return [...found.values()].sort((a, b) => a.workflow.localeCompare(b.workflow) || b.version - a.version);
  }

  /** Which worker processes have which activities now, and which activities none has though runs wait for them. */
  async activities(): Promise<ActivityWorkers[]> {
    const { store, queues } = this.#fleet;
    const [cards, registered] = await Promise.all([readWorkerCards(store), registeredQueues(store)]);
    const asked = registered.flatMap((queue) => activityOfQueue(queue) ?? []);
    const names = new Set([...cards.flatMap(({ activities }) => activities), ...asked]);
    const found = await Promise.all(
      [...names].sort().map(async (activity) => {
        const having = cards.filter(({ activities }) => activities.includes(activity));
        const open = await queues.named(activityQueue(activity)).getJobCountByTypes(...OPEN_STATES);
        return { activity, workers: having.map(({ host, pid }) => `${host}:${pid}`), open };
      }),
    );
    return found.filter(({ workers, open }) => workers.length > 0 || open > 0);
  }

  /** Runs that fit, the latest first. */
  list(filter: RunFilter, limit: number, cursor?: string) {
    return listRuns(this.#fleet.store, filter, limit, cursor);
  }

  /** False when the run had ended before. @throws JobLostError when there is no such run (any more). */
  async cancel(runId: string): Promise<boolean> {
    const outcome = await cancelRun(this.#fleet, runId);
    if (outcome === "lost") throw new JobLostError(runId, "run");
    return outcome === "ended";
  }

  /** @throws as `askUpdate` */
  update(
    runId: string,
    update: { name: string; data: unknown; updateId?: string | undefined },
    signal: AbortSignal,
  ): Promise<unknown> {
    return askUpdate(this.#fleet, runId, update, AbortSignal.any([signal, this.#closing.signal]));
  }

  /** @throws as `retryRun` */
  retry(runId: string): Promise<void> {
    return retryRun(this.#fleet, runId);
  }

  /** The signals that the run takes, those that it waits for first. @throws as `read` */
  async signals(runId: string): Promise<RunSignal[]> {
    return signalsOfRun(this.#fleet.store, await this.read(runId));
  }

  /**
   * @throws JobLostError when there is no such run (any more); GlueError `run_over` when it has ended; InputError `invalid_signal` for data that
   * its workflow does not take
   */
  async signal(runId: string, name: string, data: unknown, dedupeId?: string): Promise<void> {
    const { store } = this.#fleet;
    await checkSignal(store, runId, name, data);
    const entry: RunJournalEntry = { type: "signal", name, at: Date.now() };
    const { json, isTyped } = encode(data, `signal "${name}"`);
    if (isTyped) entry.typed = true;
    const stored = json === undefined ? undefined : await inlineOrRunBlob(store, runId, json);
    if (isBlobRef(stored)) entry.blob = stored;
    else entry.data = stored;
    if ((await notifyRun(store, runId, entry, [], dedupeId)) !== "over") return;
    throw runOver(runId, (await this.read(runId)).status, "signals");
  }

  /**
   * @throws InputError when the run has no such step; InputError (`run_conflict`) when the id stands for another run, or
   * for a fork with other changes.
   */
  async fork(runId: string, newRunId: string, options: ForkOptions): Promise<void> {
    const { store } = this.#fleet;
    const run = await this.read(runId);
    await keepSteps(store, runId);
    const input = await inputOf(store, run);
    const entries = forkEntries(await readRunJournal(store, runId), options);
    const { fromStep, changes = {} } = options;
    const seed = randomUUID();
    await this.start({
      runId: newRunId,
      workflow: run.workflow,
      version: run.version,
      tenant: run.tenant,
      by: run.by,
      input: "input" in changes ? changes.input : input,
      priority: run.priority,
      defaultModel: run.defaultModel,
      providerOptions: run.providerOptions,
      deadlineMs: isBounded(run) ? run.deadlineAt - run.createdAt : undefined,
      fork: {
        of: { run: runId, fromStep, results: inputDigestForm(changes.results ?? {}) },
        seed: run.seed,
        continued: run.continued,
        forks: [...run.forks, { fromStep, entries: entries.length, seed }],
        entries,
      },
    });
  }

  /**
   * Waits for the run's end.
   * @throws the run's error, of its class; NonDeterminismError while no worker's code fits; JobLostError; the signal's
   * reason, which leaves the run alone.
   */
  async result(runId: string, signal: AbortSignal): Promise<unknown> {
    const { store } = this.#fleet;
    const wakeup = new Wakeup();
    const wake = () => wakeup.wake();
    using _ = await store.notifier.listen({ [`result:${runId}`]: wake });
    const end = AbortSignal.any([signal, this.#closing.signal]);
    end.addEventListener("abort", wake, { once: true });
    try {
      if (!end.aborted && (await goesOn(store, runId))) await wakeup.wait(POLL_MS);
      for (;;) {
        end.throwIfAborted();
        const run = await this.read(runId);
        if (run.error) throw fromErrorRecord(run.error, { runId });
        // A worker that has come since may have code that fits.
        if (run.blocked && !(await mayFitElsewhere(store, run, run.unfit)))
          throw fromErrorRecord(run.blocked, { runId });
        if (run.status === "succeeded") return await outputOf(store, run);
        await wakeup.wait(POLL_MS);
      }
    } finally {
      end.removeEventListener("abort", wake);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(
      new GlueError({
        code: "client_closed",
        category: "cancelled",
        message: "the client was closed before the run had ended",
        hint: "the run goes on; its handle can be opened again by its id",
      }),
    );
    await this.#fleet.queues.close();
  }
}
