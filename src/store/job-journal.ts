import { channel } from "node:diagnostics_channel";
import { z } from "zod";
import type { Message } from "../shared/chat.ts";
import { historySummarySchema } from "../shared/conversation.ts";
import { JobCancelledError } from "../shared/errors.ts";
import { guardrailReportSchema } from "../shared/guardrail.ts";
import type { Logger } from "../shared/logger.ts";
import { fallbackSchema, toolExecutionSchema } from "../shared/records.ts";
import { readStored } from "../shared/stored-data.ts";
import { HOLD_OF, jobKey, jobLockKey } from "./bullmq-internals.ts";
import { type FinishedCall, finishedCallSchema } from "./finished-call.ts";
import { untilTaken } from "./redis-refusal.ts";
import { IS_CANCELLED } from "./result-record.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * What a job of several calls has finished so far: a list of JSON entries at `journal:<jobId>`.
 *
 * | from      | to             | by            | who                                                               |
 * |-----------|----------------|---------------|-------------------------------------------------------------------|
 * | none, any | one entry more | `append`      | the worker that holds the job's lock, unless the job is cancelled |
 * | any       | none           | `writeRecord` | with a success (result-record.ts)                                 |
 * | any       | none           | –             | 30 days after its last entry                                      |
 *
 * Calls and tools before the last `restarted` do not count towards the answer; fallbacks before the last `failed` not
 * towards the present attempts.
 */

const appendedChannel = channel("gluellm:journal");

/** As long as a failure's record: an operator's retry goes on from here. */
const TTL_SECONDS = 30 * 86_400;

const entrySchema = z.discriminatedUnion("kind", [
  /** What the job's sets of tools had when it began, by their names: digests of lists (see `tool-list.ts`). */
  z.object({ kind: z.literal("tools"), sets: z.record(z.string(), z.string()) }),
  z.object({ kind: z.literal("call"), call: finishedCallSchema, attemptsMade: z.number() }),
  /** A tool that must not run twice begins. */
  z.object({ kind: z.literal("toolStarted"), turn: z.number(), index: z.number() }),
  z.object({ kind: z.literal("tool"), index: z.number(), execution: toolExecutionSchema }),
  /** The oldest turns of the history were summarized. */
  z.object({
    kind: z.literal("summary"),
    call: finishedCallSchema,
    past: historySummarySchema,
    attemptsMade: z.number(),
  }),
  /** A guardrail's question to a model was answered. */
  z.object({
    kind: z.literal("question"),
    ...{ place: z.string(), name: z.string(), number: z.number(), digest: z.string() },
    call: finishedCallSchema,
    attemptsMade: z.number(),
  }),
  /** A guardrail has said what it says. */
  z.object({
    kind: z.literal("guardrail"),
    /** What it looked at: its stage, and the turn and call where there are several. */
    place: z.string(),
    report: guardrailReportSchema,
    /** Of a rewrite. */
    value: z.unknown().optional(),
    /** Epoch milliseconds. */
    at: z.number(),
    attemptsMade: z.number(),
  }),
  z.object({ kind: z.literal("fallback"), fallback: fallbackSchema, attemptsMade: z.number() }),
  /** A job of several models ended: an operator's retry begins with the first of them again. */
  z.object({ kind: z.literal("failed") }),
  /** What came before leads to no fitting answer: an operator's retry asks anew. */
  z.object({ kind: z.literal("restarted") }),
]);
type Entry = z.infer<typeof entrySchema>;

/**
 * Appends one entry.
 * Keys: BullMQ's job and its lock, the journal, the job's result record. Arguments: `token` of the lock, the `position`
 * of the entry from 0, the entry as JSON. Returns: `written`, `fenced` or `cancelled`.
 * Called by `append`, for the worker that has the job. Fence: the job's lock, as for the result record; and an entry
 * stands where its writer thinks it does, so that neither a second worker nor a command that was sent again with a lost
 * connection adds anything.
 */
const APPEND = new Script({
  keys: ["job", "lock", "journal", "result"],
  args: { token: "text", position: "number", entry: "text" },
  lua: `${HOLD_OF}${IS_CANCELLED}
    if holdOf(job, lock, token) ~= 'held' then return 'fenced' end
    if isCancelled(result) then return 'cancelled' end
    local length = redis.call('LLEN', journal)
    if length == position + 1 and redis.call('LINDEX', journal, -1) == entry then return 'written' end
    if length ~= position then return 'fenced' end
    redis.call('RPUSH', journal, entry)
    redis.call('EXPIRE', journal, ${TTL_SECONDS})
    return 'written'
  `,
});

const KIND = "journal of job";

/** Returns an entry as it stands at a place of a job's journal. */
export function journalLine(store: Store, jobId: string, position: number, json: string): Promise<string> {
  return store.sealing.seal(KIND, `${jobId}:${position}`, json);
}

/** Returns the entries of a job's journal as JSON. */
export async function readJournalLines(store: Store, jobId: string): Promise<string[]> {
  const lines = await store.redis.lrange(store.keys.journal(jobId), 0, -1);
  return Promise.all(lines.map((line, n) => store.sealing.open(KIND, `${jobId}:${n}`, line)));
}

/** This worker no longer owns the job: whoever does goes on from the journal. */
export class FencedError extends Error {
  override name = "FencedError";
}

interface JournalOptions {
  store: Store;
  queue: string;
  jobId: string;
  token: string;
  logger: Logger;
}

/**
 * What a job of several calls has finished so far, in Redis: after a crash the next attempt goes on from here, and pays
 * for nothing twice.
 */
export class JobJournal {
  readonly #options: JournalOptions;
  readonly #entries: Entry[];
  #appending: Promise<unknown> = Promise.resolve();

  private constructor(options: JournalOptions, entries: Entry[]) {
    this.#options = options;
    this.#entries = entries;
  }

  /** @throws GlueError `corrupt_data` */
  static async open(options: JournalOptions): Promise<JobJournal> {
    const { store, jobId } = options;
    const lines = await readJournalLines(store, jobId);
    return new JobJournal(
      options,
      readStored(`the journal of job ${jobId}`, () =>
        lines.map((line) => entrySchema.parse(JSON.parse(line))),
      ),
    );
  }

  /** The digests of the lists of the job's sets of tools; undefined before they were asked. */
  get toolLists(): Readonly<Record<string, string>> | undefined {
    return this.#entries.find((entry) => entry.kind === "tools")?.sets;
  }

  /** How often the job began anew: places of one life are none of another. */
  get generation(): number {
    return this.#entries.filter(({ kind }) => kind === "restarted").length;
  }

  /** The calls that count towards the answer, by turn. */
  get calls(): FinishedCall[] {
    return this.#valid.flatMap((entry) => (entry.kind === "call" ? entry.call : []));
  }

  /** All calls that were paid, those that led to nothing included. */
  get allCalls(): FinishedCall[] {
    return this.#entries.flatMap((entry) => ("call" in entry ? entry.call : []));
  }

  /** The calls that guardrails made, which hold whatever becomes of the answers. */
  get questions(): FinishedCall[] {
    return this.#entries.flatMap((entry) => (entry.kind === "question" ? entry.call : []));
  }

  /** The answer to a guardrail's question, by what it was asked. */
  questionAt({
    place,
    name,
    number,
    digest,
  }: {
    place: string;
    name: string;
    number: number;
    digest: string;
  }) {
    const found = this.#valid.findLast(
      (entry) =>
        entry.kind === "question" &&
        entry.place === place &&
        entry.name === name &&
        entry.number === number &&
        entry.digest === digest,
    );
    return found?.kind === "question" ? found.call : undefined;
  }

  /** What a guardrail has put in the place of what the job asks; undefined for nothing. */
  get rewrittenInput(): Message[] | undefined {
    const rewritten = this.#valid.findLast(
      (entry) =>
        entry.kind === "guardrail" &&
        entry.place === "pre" &&
        entry.report.action === "rewrite" &&
        !entry.report.shadow,
    );
    return rewritten?.kind === "guardrail" ? (rewritten.value as Message[]) : undefined;
  }

  /** What a guardrail said at a place. What it blocked before the job failed, it is asked again. */
  guardrailAt(place: string, name: string, failedAt = 0) {
    return this.#valid
      .flatMap((entry) => (entry.kind === "guardrail" ? entry : []))
      .findLast(
        ({ place: at, report, at: saidAt }) =>
          at === place && report.name === name && !(report.action === "block" && saidAt <= failedAt),
      );
  }

  /** The summaries of the history, which hold whatever becomes of the answers. */
  get summaries() {
    return this.#entries.flatMap((entry) => (entry.kind === "summary" ? entry : []));
  }

  /** The models given up so far, in order. */
  get fallbacks() {
    return this.#present.flatMap((entry) => (entry.kind === "fallback" ? entry.fallback : []));
  }

  /** The attempts that the job had used up when its latest call was finished or model given up: each has its own. */
  get attemptsMade(): number {
    return this.#present.findLast((entry) => "attemptsMade" in entry)?.attemptsMade ?? 0;
  }

  executionOf(turn: number, index: number) {
    const found = this.#valid.find(
      (entry) => entry.kind === "tool" && entry.execution.turn === turn && entry.index === index,
    );
    return found?.kind === "tool" ? found.execution : undefined;
  }

  /** How many of a turn's tool calls have ended. */
  executionsOf(turn: number): number {
    return this.#valid.filter((entry) => entry.kind === "tool" && entry.execution.turn === turn).length;
  }

  hasStarted(turn: number, index: number): boolean {
    return this.#valid.some(
      (entry) => entry.kind === "toolStarted" && entry.turn === turn && entry.index === index,
    );
  }

  /**
   * Appends an entry, after those whose appending has begun. Diagnostics channel `gluellm:journal`, once an entry is
   * safe: `{jobId, position, entry}`.
   * @throws FencedError when another worker has the job; JobCancelledError
   */
  append(entry: Entry): Promise<void> {
    const appended = this.#appending.then(() => this.#append(entry));
    this.#appending = appended.catch(() => {});
    return appended;
  }

  get #valid() {
    return this.#entries.slice(this.#entries.findLastIndex(({ kind }) => kind === "restarted") + 1);
  }

  /** Since the job last failed, if it did. */
  get #present() {
    return this.#entries.slice(this.#entries.findLastIndex(({ kind }) => kind === "failed") + 1);
  }

  async #append(entry: Entry): Promise<void> {
    const { store, queue, jobId, token, logger } = this.#options;
    const position = this.#entries.length;
    // Sealed once: one that is sent again has to be the same text.
    const text = await journalLine(store, jobId, position, JSON.stringify(entry));
    const outcome = await untilTaken(logger, () =>
      APPEND.run(
        store.redis,
        {
          job: jobKey(store, queue, jobId),
          lock: jobLockKey(store, queue, jobId),
          journal: store.keys.journal(jobId),
          result: store.keys.result(jobId),
        },
        { token, position, entry: text },
      ),
    );
    if (outcome === "cancelled") throw new JobCancelledError();
    if (outcome !== "written") throw new FencedError("another worker has the job");
    this.#entries.push(entry);
    appendedChannel.publish({ jobId, position: this.#entries.length, entry });
  }
}
