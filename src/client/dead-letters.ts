import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { chooseModel } from "../calls/model-choice.ts";
import {
  type DeadLetter,
  dropJob,
  findFailedJobs,
  fits,
  type LetterFilter,
  payloadOf,
} from "../producers/dead-letters.ts";
import { forkJob, requestOf } from "../producers/fork-job.ts";
import { ProducerQueues } from "../producers/queues.ts";
import { retryJob } from "../producers/retry-job.ts";
import { costUsd } from "../shared/cost.ts";
import { GlueError, InputError } from "../shared/errors.ts";
import { toDouble } from "../shared/exact-json.ts";
import { modelRef } from "../shared/model-name.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import { DEFAULT_TENANT, type Owner } from "../shared/tenant.ts";
import { estimatePromptTokens } from "../shared/token-estimate.ts";
import { listBatches } from "../store/batch.ts";
import { listRuns } from "../store/run-list.ts";
import { readRun } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import type { Connection } from "./connection.ts";

/** Which dead letters are meant: those to which all of it applies. */
export interface LetterSelection extends Omit<LetterFilter, "tenant" | "since"> {
  /** Failed at or after this time; a Date or epoch milliseconds. */
  since?: Date | number | undefined;
  kind?: DeadLetter["kind"] | undefined;
}

/** Options of a replay. */
export interface ReplayOptions {
  /** Another model, as `provider:model`: each job becomes a new one, which keeps what was paid. */
  model?: string | undefined;
  /** Fields of the request that take the place of its own; null takes one away. */
  edit?: Readonly<Record<string, unknown>> | undefined;
  /** Whether letters are only counted and quoted; default false. */
  dryRun?: boolean | undefined;
  /** The most letters that are replayed in a second; default 50. */
  perSecond?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Letters of one cause. */
export interface LetterGroup {
  kind: DeadLetter["kind"] | "batch";
  code: string;
  /** The jobs' model, the runs' workflow, the batch's id. */
  subject: string;
  count: number;
  firstAt: Date;
  lastAt: Date;
  /** The latest of them. */
  example: { id: string; message: string };
  /** How it is tried again where `replay` does not: failed rows of a batch. */
  hint?: string;
}

export interface ReplayReport {
  matched: number;
  /** 0 in a dry run. */
  changed: number;
  failed: number;
  /** Why letters could not be changed; at most 100. */
  failures: { id: string; code: string; message: string }[];
  /** What the first calls of the jobs may cost, in USD, with answers of at most so many tokens each; null: no price is known. */
  quoteUsd: number | null;
  /** By the id of a letter: the job that it has become. */
  replayed: Record<string, string>;
}

const selectionSchema = z.strictObject({
  id: z.string().optional(),
  code: z.string().optional(),
  model: z.string().optional(),
  queue: z.string().optional(),
  workflow: z.string().optional(),
  kind: z.enum(["job", "run"]).optional(),
  since: z
    .union([z.date(), z.number()], "not a Date or epoch milliseconds")
    .transform((given) => new Date(given).getTime())
    .optional(),
});

const MAX_LETTERS = 10_000;
const MAX_FAILURES = 100;
/** Of an answer whose length nobody bounded. */
const GUESSED_TOKENS = 500;
const RUN_PAGE = 1000;

/** What failed for good and can be tried again: single calls and runs; failed rows are their batch's to try again. */
export class DeadLetters {
  readonly #connection: Connection;
  readonly #settings: Settings;
  readonly #owner: Owner;

  /** @internal */
  constructor(connection: Connection, settings: Settings, owner: Owner) {
    this.#connection = connection;
    this.#settings = settings;
    this.#owner = owner;
  }

  /** Returns letters by their cause, the most frequent first, with batches that have failed rows. */
  async groups(selection: LetterSelection = {}): Promise<LetterGroup[]> {
    const letters = await this.list(selection);
    const groups = new Map<string, LetterGroup>();
    for (const { kind, code, subject, failedAt, id, message } of letters) {
      const key = JSON.stringify([kind, code, subject]);
      const group = groups.get(key);
      const at = new Date(failedAt);
      if (group) Object.assign(group, { count: group.count + 1, firstAt: at });
      else
        groups.set(key, { kind, code, subject, count: 1, firstAt: at, lastAt: at, example: { id, message } });
    }
    return [...groups.values(), ...(await this.#batches(selection))].sort((a, b) => b.count - a.count);
  }

  /** Returns letters, the latest first; at most 10,000. @throws InputError naming what is wrong in the selection */
  list(selection: LetterSelection = {}): Promise<DeadLetter[]> {
    const { kind, ...filter } = checkWith(selectionSchema, selection, "the selection of dead letters");
    return this.#connection.useStore(async (store) => {
      const own = { ...filter, tenant: this.#owner.tenant };
      const jobs = kind === "run" || filter.workflow !== undefined ? [] : await findFailedJobs(store, own);
      const isOfJobs = filter.model !== undefined || filter.queue !== undefined;
      const runs = kind === "job" || isOfJobs ? [] : await this.#failedRuns(store, own);
      return [...jobs, ...runs].sort((a, b) => b.failedAt - a.failedAt).slice(0, MAX_LETTERS);
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
   * Lets letters try again: as they are, in place, with new attempts; or with a change, as new jobs that keep what was paid.
   * @throws InputError for a selection without anything in it, a wrong change, or a model that nobody has
   */
  async replay(selection: LetterSelection, options: ReplayOptions = {}): Promise<ReplayReport> {
    const { edit, dryRun = false } = options;
    requireSome(selection);
    const model =
      options.model === undefined
        ? undefined
        : chooseModel(options.model, {
            settings: this.#settings,
            defaultModel: options.model,
            keyNeeded: false,
          });
    const change = model || edit ? { model, edit } : undefined;
    const letters = await this.list(selection);
    return this.#connection.useStore(async (store) => {
      const queues = new ProducerQueues(store, this.#settings.maxQueues);
      const report = emptyReport(letters.length);
      report.quoteUsd = dryRun ? await this.#quote(store, letters, model?.key) : null;
      const replay = async (letter: DeadLetter) => {
        if (letter.kind === "run") {
          if (change) throw unchangeable(letter.id);
          await this.#connection.useRuns((runs) => runs.retry(letter.id));
          return letter.id;
        }
        const queue = queues.named(letter.queue ?? "");
        if (change) return forkJob({ store, settings: this.#settings, queues }, queue, letter.id, change);
        await retryJob(store, queues, { id: letter.id, queue: queue.name });
        return letter.id;
      };
      try {
        if (!dryRun) await each(letters, replay, report, options);
        return report;
      } finally {
        await queues.close();
      }
    });
  }

  /** Forgets failed jobs: they leave their queue, the record of their end stays as long as it would. Runs are kept by their retention. */
  async drop(
    selection: LetterSelection,
    options: Omit<ReplayOptions, "model" | "edit"> = {},
  ): Promise<ReplayReport> {
    requireSome(selection);
    const letters = await this.list({ ...selection, kind: "job" });
    return this.#connection.useStore(async (store) => {
      const queues = new ProducerQueues(store, this.#settings.maxQueues);
      const report = emptyReport(letters.length);
      const drop = async ({ id, queue = "" }: DeadLetter) =>
        (await dropJob(store, queues.named(queue), id)) ? id : undefined;
      try {
        if (!options.dryRun) await each(letters, drop, report, options);
        return report;
      } finally {
        await queues.close();
      }
    });
  }

  async #failedRuns(store: Store, filter: LetterFilter): Promise<DeadLetter[]> {
    const { tenant, workflow } = filter;
    const letters: DeadLetter[] = [];
    let cursor: string | undefined;
    do {
      const page = await listRuns(store, { state: "failed", tenant, workflow }, RUN_PAGE, cursor);
      for (const { id } of page.runs) {
        if (filter.id !== undefined && id !== filter.id) continue;
        const run = await readRun(store, id).catch(() => undefined);
        // A failed child is tried again with its parent.
        if (!run || run.parentRunId) continue;
        const { finishedAt: failedAt = 0, error, retries: attempts, costUsd: cost } = run;
        if (failedAt < (filter.since ?? 0)) continue;
        const { code = "unknown", message = "" } = error ?? {};
        const whose = {
          kind: "run",
          id,
          tenant: run.tenant ?? DEFAULT_TENANT,
          subject: run.workflow,
        } as const;
        const letter = { ...whose, queue: undefined, code, message, failedAt, attempts, costUsd: cost };
        if (fits(letter, filter)) letters.push(letter);
      }
      cursor = page.cursor;
    } while (cursor !== undefined && letters.length < MAX_LETTERS);
    return letters;
  }

  async #batches({
    kind,
    id,
    code,
    workflow,
    queue,
    model,
    since = 0,
  }: LetterSelection): Promise<LetterGroup[]> {
    if (kind ?? id ?? code ?? workflow ?? queue ?? model) return [];
    const batches = await this.#connection.useStore((store) => listBatches(store, 100, this.#owner.tenant));
    const ended = batches.filter(
      ({ failed, status, updatedAt }) =>
        failed > 0 &&
        updatedAt >= new Date(since).getTime() &&
        !["in_progress", "validating"].includes(status),
    );
    return ended.map(({ id: batch, failed, createdAt, updatedAt, input, output }) => ({
      ...{ kind: "batch", code: "failed_rows", subject: batch, count: failed },
      ...{ firstAt: new Date(createdAt), lastAt: new Date(updatedAt) },
      example: {
        id: batch,
        message: `${failed} rows of ${input}; why: ${output.replace(/\.jsonl$/, "")}.errors.jsonl`,
      },
      hint: `gluellm batch run ${input} ${output} --retry-failed`,
    }));
  }

  /** What a first call of each job may cost. */
  async #quote(
    store: Store,
    letters: readonly DeadLetter[],
    model: string | undefined,
  ): Promise<number | null> {
    let sum = 0;
    for (const { id, kind, queue } of letters) {
      const payload = kind === "job" && queue !== undefined ? await payloadOf(store, queue, id) : undefined;
      if (!payload) continue;
      const request = await requestOf(store, payload).catch(() => undefined);
      if (!request) continue;
      const prompt = estimatePromptTokens(request);
      const completion = toDouble(request.max_tokens ?? request.max_completion_tokens) ?? GUESSED_TOKENS;
      const own = modelRef(payload.provider.entry, payload.model);
      const [entry = "", ...name] = model?.split(":") ?? [];
      const asked = model === undefined ? own : modelRef(entry, name.join(":"));
      const cost = costUsd(this.#settings.prices, asked, {
        prompt,
        completion,
        total: prompt + completion,
        cached: 0,
      });
      if (cost === null) return null;
      sum += cost;
    }
    return sum;
  }
}

/** Changes letters one after the other, no more in a second than is allowed. */
async function each(
  letters: readonly DeadLetter[],
  change: (letter: DeadLetter) => Promise<string | undefined>,
  report: ReplayReport,
  { perSecond = 50, signal }: ReplayOptions,
): Promise<void> {
  const startedAt = performance.now();
  for (const [n, letter] of letters.entries()) {
    const waitMs = startedAt + (n * 1000) / perSecond - performance.now();
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => {});
    if (signal?.aborted) return;
    try {
      const id = await change(letter);
      if (id === undefined) continue;
      report.changed += 1;
      report.replayed[letter.id] = id;
    } catch (error) {
      if (!(error instanceof GlueError)) throw error;
      report.failed += 1;
      if (report.failures.length < MAX_FAILURES)
        report.failures.push({ id: letter.id, code: error.code, message: error.message });
    }
  }
}

function emptyReport(matched: number): ReplayReport {
  return { matched, changed: 0, failed: 0, failures: [], quoteUsd: null, replayed: {} };
}

function requireSome(selection: LetterSelection): void {
  if (Object.values(selection).some((value) => value !== undefined)) return;
  throw new InputError(
    "the selection of dead letters is empty: it would be all of them",
    "say which: by id, code, model, queue, workflow, kind or since",
  );
}

function unchangeable(id: string): InputError {
  return new InputError(
    `run ${id} is replayed as it is`,
    "gluellm workflow fork makes a run of it with another input",
    "not_replayable",
  );
}
