import { chooseModel } from "../calls/model-choice.ts";
import { type DeadLetter, dropJob, findFailedJobs, payloadOf } from "../producers/dead-letters.ts";
import { forkJob, type JobChange, requestOf } from "../producers/fork-job.ts";
import { ProducerQueues } from "../producers/queues.ts";
import { retryJob } from "../producers/retry-job.ts";
import { InputError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import type { Owner } from "../shared/tenant.ts";
import type { Store } from "../store/store.ts";
import type { Batches } from "./batches.ts";
import { changeLetters, emptyReport } from "./change-letters.ts";
import type { Connection } from "./connection.ts";
import { findFailedBatches, findFailedRuns, MAX_LETTERS } from "./failed-letters.ts";
import {
  checkLetterSelection,
  type DropReport,
  type LetterGroup,
  type LetterSelection,
  type ReplayOptions,
  type ReplayReport,
  requireSome,
} from "./letter-options.ts";
import { quoteLetters } from "./quote-letters.ts";
import { replayRows } from "./replay-rows.ts";

/** What is handed to dead letters beside their connection. */
interface DeadLetterAccess {
  settings: Settings;
  owner: Owner;
  /** Of a key with a cost limit: each model of a new batch needs a price. */
  needsPrices: boolean;
  batches: Batches;
}

/** What failed for good and can be tried again: single calls, runs, and batches with failed rows. */
export class DeadLetters {
  readonly #connection: Connection;
  readonly #access: DeadLetterAccess;

  /** @internal */
  constructor(connection: Connection, access: DeadLetterAccess) {
    this.#connection = connection;
    this.#access = access;
  }

  /** Returns letters by their cause, the most frequent first; each batch with failed rows is a group. */
  async groups(selection: LetterSelection = {}): Promise<LetterGroup[]> {
    const groups = new Map<string, LetterGroup>();
    for (const { kind, code, subject, failedAt, id, message, rows = 1, hint } of await this.list(selection)) {
      const key = JSON.stringify([kind, code, subject]);
      const group = groups.get(key);
      const at = new Date(failedAt);
      if (group) Object.assign(group, { count: group.count + 1, firstAt: at });
      else
        groups.set(key, {
          ...{ kind, code, subject, count: rows, firstAt: at, lastAt: at, example: { id, message } },
          ...(hint !== undefined && { hint }),
        });
    }
    return [...groups.values()].sort((a, b) => b.count - a.count);
  }

  /**
   * Returns letters, the latest first; at most 10,000, and of batches those of the latest 500.
   * @throws InputError naming what is wrong in the selection
   */
  list(selection: LetterSelection = {}): Promise<DeadLetter[]> {
    const { kind, ...filter } = checkLetterSelection(selection);
    return this.#connection.useStore(async (store) => {
      const own = { ...filter, tenant: this.#access.owner.tenant };
      const isOfJobs = filter.model !== undefined || filter.queue !== undefined;
      const isOfRuns = filter.workflow !== undefined;
      const isWanted = (of: DeadLetter["kind"], isExcluded: boolean) =>
        (kind === undefined || kind === of) && !isExcluded;
      const found = await Promise.all([
        isWanted("job", isOfRuns) ? findFailedJobs(store, own) : [],
        isWanted("run", isOfJobs) ? findFailedRuns(store, own) : [],
        isWanted("batch", isOfJobs || isOfRuns) ? findFailedBatches(store, own) : [],
      ]);
      return found
        .flat()
        .sort((a, b) => b.failedAt - a.failedAt)
        .slice(0, MAX_LETTERS);
    });
  }

  /** Returns one letter, with the request of a job. @throws InputError `unknown_letter` */
  async show(id: string): Promise<DeadLetter & { request?: unknown; forkOf?: string | undefined }> {
    const [letter] = await this.list({ id });
    if (!letter)
      throw new InputError(`there is no dead letter ${id}`, "gluellm dlq list shows them", "unknown_letter");
    const { queue } = letter;
    if (queue === undefined) return letter;
    return this.#connection.useStore(async (store) => {
      const payload = await payloadOf(store, queue, id);
      if (!payload) return letter;
      return {
        ...letter,
        forkOf: payload.forkOf,
        request: await requestOf(store, payload).catch(() => undefined),
      };
    });
  }

  /**
   * Lets letters try again: jobs and runs as they are, in place, with new attempts; or with a change, as new jobs that keep what was paid.
   * Failed rows of a batch of the service become a new batch; a batch that a program has run is run to its end here, where its files are.
   * @throws InputError for a selection without anything in it, a wrong change, or a model that nobody has
   */
  async replay(selection: LetterSelection, options: ReplayOptions = {}): Promise<ReplayReport> {
    const { settings } = this.#access;
    const { edit, dryRun = false } = options;
    requireSome(selection);
    const { model: name } = options;
    const model =
      name === undefined ? undefined : chooseModel(name, { settings, defaultModel: name, keyNeeded: false });
    const change = model || edit ? { model, edit } : undefined;
    const letters = await this.list(selection);
    return this.#change(letters, options, async (store, queues, report) => {
      if (dryRun) report.quoteUsd = await quoteLetters(store, settings, letters, model);
      return (letter) => this.#replayOne(store, queues, letter, { change, ...options });
    });
  }

  /**
   * Forgets failed jobs: they leave their queue, the record of their end stays as long as it would. Runs and batches are kept by their
   * retention. @throws InputError for a selection without anything in it
   */
  async drop(
    selection: LetterSelection,
    options: Omit<ReplayOptions, "model" | "edit"> = {},
  ): Promise<DropReport> {
    requireSome(selection);
    const letters = (await this.list(selection)).filter(({ kind }) => kind === "job");
    const { replayed: changed, ...report } = await this.#change(
      letters,
      options,
      async (store, queues) =>
        async ({ id, queue = "" }) =>
          (await dropJob(store, queues.named(queue), id)) ? id : undefined,
    );
    return { ...report, dropped: Object.keys(changed) };
  }

  #change(
    letters: readonly DeadLetter[],
    options: ReplayOptions,
    prepare: (
      store: Store,
      queues: ProducerQueues,
      report: ReplayReport,
    ) => Promise<(letter: DeadLetter) => Promise<string | undefined>>,
  ): Promise<ReplayReport> {
    return this.#connection.useStore(async (store) => {
      const queues = new ProducerQueues(store, this.#access.settings.maxQueues);
      const report = emptyReport(letters);
      try {
        const change = await prepare(store, queues, report);
        if (!options.dryRun) await changeLetters(letters, change, report, options);
        return report;
      } finally {
        await queues.close();
      }
    });
  }

  async #replayOne(
    store: Store,
    queues: ProducerQueues,
    { kind, id, queue = "" }: DeadLetter,
    { change, hasFiles = true }: ReplayOptions & { change: JobChange | undefined },
  ): Promise<string> {
    const { settings, owner, needsPrices, batches } = this.#access;
    if (kind === "batch") {
      const access = { store, settings, needsPrices, by: owner.by, batches: hasFiles ? batches : undefined };
      return replayRows(access, id, change);
    }
    if (kind === "run") {
      if (change) throw unchangeable(id);
      await this.#connection.useRuns((runs) => runs.retry(id));
      return id;
    }
    const from = queues.named(queue);
    if (change) return forkJob({ store, settings, queues }, from, id, change);
    await retryJob(store, queues, { id, queue: from.name });
    return id;
  }
}

function unchangeable(id: string): InputError {
  return new InputError(
    `run ${id} is replayed as it is`,
    "gluellm workflow fork makes a run of it with another input",
    "not_replayable",
  );
}
