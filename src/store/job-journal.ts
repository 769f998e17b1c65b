import { channel } from "node:diagnostics_channel";
import { z } from "zod";
import { chatCompletionSchema } from "../shared/chat.ts";
import { historySummarySchema } from "../shared/conversation.ts";
import { JobCancelledError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { fallbackSchema, toolExecutionSchema } from "../shared/records.ts";
import { readStored } from "../shared/stored-data.ts";
import { HOLD_OF, jobKey, jobLockKey } from "./bullmq-internals.ts";
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

const tokensSchema = z.object({
  prompt: z.number(),
  completion: z.number(),
  total: z.number(),
  cached: z.number(),
  cacheWritten: z.number().optional(),
  estimated: z.literal(true).optional(),
});

/** A provider call that brought an answer. */
const finishedCallSchema = z.object({
  entry: z.string(),
  model: z.string(),
  statusCode: z.number(),
  requestId: z.string(),
  body: chatCompletionSchema,
  tokens: tokensSchema,
  costUsd: z.number().nullable(),
  latencyMs: z.number(),
  /** To the first piece of a streamed answer. */
  firstTokenMs: z.number().optional(),
  /** How long it waited for its budget. */
  budgetWaitMs: z.number().optional(),
  fromCache: z.literal(true).optional(),
});
export type FinishedCall = z.infer<typeof finishedCallSchema>;

const entrySchema = z.discriminatedUnion("kind", [
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
    const lines = await store.redis.lrange(store.keys.journal(jobId), 0, -1);
    return new JobJournal(
      options,
      readStored(`the journal of job ${jobId}`, () =>
        lines.map((line) => entrySchema.parse(JSON.parse(line))),
      ),
    );
  }

  /** The calls that count towards the answer, by turn. */
  get calls(): FinishedCall[] {
    return this.#valid.flatMap((entry) => (entry.kind === "call" ? entry.call : []));
  }

  /** All calls that were paid, those that led to nothing included. */
  get allCalls(): FinishedCall[] {
    return this.#entries.flatMap((entry) => ("call" in entry ? entry.call : []));
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
    const outcome = await untilTaken(logger, () =>
      APPEND.run(
        store.redis,
        {
          job: jobKey(store, queue, jobId),
          lock: jobLockKey(store, queue, jobId),
          journal: store.keys.journal(jobId),
          result: store.keys.result(jobId),
        },
        { token, position: this.#entries.length, entry: JSON.stringify(entry) },
      ),
    );
    if (outcome === "cancelled") throw new JobCancelledError();
    if (outcome !== "written") throw new FencedError("another worker has the job");
    this.#entries.push(entry);
    appendedChannel.publish({ jobId, position: this.#entries.length, entry });
  }
}
