import { z } from "zod";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";

/*
 * An entry of the outbox (outbox.ts) as it stands in its stream, all fields text:
 *
 * | field     | what it is                                                                                              |
 * |-----------|---------------------------------------------------------------------------------------------------------|
 * | `v`       | version of this shape, 1; older ones come through `upcast`                                              |
 * | `version` | microseconds by the clock of Redis: a later event of the same object has a higher one. Kind, id and     |
 * |           | version name an event for good: one that comes twice is the same                                        |
 * | `kind`    | `job`, `run`, `batch`, `schedule` or `alert`                                                            |
 * | `id`      | of the job, run, batch, schedule or alert                                                               |
 * | `tenant`  | whose it is; `default` is written out                                                                   |
 * | `state`   | its state from now on, in the words of the API and of its record                                        |
 * | `type`    | of the event: `job.completed`, `run.failed`, `batch.in_progress`, `schedule.skipped`, `alert.firing`    |
 * | `endedAt` | epoch milliseconds by the clock of Redis                                                                |
 * | `figures` | JSON of what the script had at hand: the schemas below. No word of a prompt or an answer                |
 * | `detail`  | in the stream of the history alone: JSON of `detailSchema`, prompt and answer as the settings let it     |
 */

export const OUTBOX_VERSION = 1;

/** The types of all events. */
export const EVENT_TYPES: readonly string[] = [
  ...["job.completed", "job.failed", "job.cancelled", "job.suspended"],
  ...["run.completed", "run.failed", "run.cancelled", "run.continued"],
  ...["batch.validating", "batch.in_progress", "batch.finalizing", "batch.completed"],
  ...["batch.failed", "batch.expired", "batch.cancelling", "batch.cancelled"],
  ...["schedule.started", "schedule.skipped", "schedule.missed", "schedule.failed"],
  ...["alert.firing", "alert.resolved"],
];

const count = z.coerce.number().catch(0).default(0);
const time = z.coerce.number().optional().catch(undefined);
const text = z.string().optional().catch(undefined);
const usd = z.coerce.number().nullable().optional().catch(undefined);

/** Millionths of a USD, rounded; null where nobody knows the cost. */
function microUsd(costUsd: number | null | undefined): number | null {
  return costUsd === null || costUsd === undefined ? null : Math.round(costUsd * 1e6);
}

const withMicroUsd = <T extends { costUsd?: number | null | undefined }>(figures: T) => ({
  ...figures,
  costMicroUsd: microUsd(figures.costUsd),
});

const jobFigures = z
  .object({
    queue: text,
    /** The provider entry, and the model that answered or was tried last. */
    entry: text,
    model: text,
    /** How it was bought: `online`, `flex`, or `batch:` and the provider's name of the batch. */
    lane: z.string().catch("online").default("online"),
    /** Of a row: its batch, its custom_id, its place in the input (from 0). */
    batchId: text,
    customId: text,
    line: z.number().optional().catch(undefined),
    /** Of a workflow's step: its run and its name there. */
    runId: text,
    step: text,
    conversationId: text,
    /** The key of the API that asked for it. */
    by: text,
    /** Input tokens, those from the cache included. */
    promptTokens: count,
    cachedTokens: count,
    /** Output tokens, those of reasoning included. */
    outputTokens: count,
    reasoningTokens: count,
    /** A provider did not report all of these. */
    isEstimated: z.boolean().catch(false).default(false),
    costUsd: usd,
    /** When it was enqueued, and when the attempt began that ended it. */
    createdAt: time,
    startedAt: time,
    /** Time of the provider calls. */
    latencyMs: count,
    /** How often it was put back without using an attempt. */
    waits: count,
    attempts: count,
    /** Provider calls that brought an answer. */
    calls: count,
    fromCache: z.boolean().catch(false).default(false),
    errorCode: text,
    /** Of a suspended job: the calls of tools that a person is asked about. */
    approvals: z
      .array(z.object({ callId: z.string(), toolName: z.string() }))
      .optional()
      .catch(undefined),
  })
  .transform(withMicroUsd);

/** Sums go over all ended steps and child runs. */
const runFigures = z
  .object({
    workflow: text,
    /** Of the code that began it. */
    codeVersion: time,
    queue: text,
    by: text,
    createdAt: time,
    /** When it was past its limits; absent without any. */
    startedAt: time,
    promptTokens: count,
    outputTokens: count,
    costUsd: usd,
    /** Ended steps that nobody knows the cost of. */
    unpriced: count,
    retries: count,
    /** How often it went on as new. */
    continued: count,
    parentRunId: text,
    parentStep: text,
    errorCode: text,
  })
  .transform(withMicroUsd);

const batchFigures = z
  .object({
    by: text,
    /** Of a batch of the API. */
    endpoint: text,
    createdAt: time,
    total: count,
    succeeded: count,
    failed: count,
    promptTokens: count,
    cachedTokens: count,
    outputTokens: count,
    costUsd: usd,
    /** Succeeded rows that nobody knows the cost of. */
    unpriced: count,
    cacheHits: count,
    retries: count,
    rateLimited: count,
  })
  .transform(withMicroUsd);

const scheduleFigures = z.object({
  /** The tick's planned time; of several missed ones the first. */
  plannedAt: count,
  count: z.coerce.number().catch(1).default(1),
  /** The run or job that was started. */
  startedId: text,
  /** Why nothing could be started. */
  error: text,
});

const alertFigures = z.object({
  /** What the rule is about: `QueueStalled`. */
  name: z.string().catch("").default(""),
  severity: text,
  /** One sentence for people. */
  summary: text,
  labels: z.record(z.string(), z.string()).catch({}).default({}),
});

/** An answer of a provider or of the cache, or a paid one that could not be used. */
const answerSchema = z.object({
  /** Absent: of an answer that could not be used. */
  entry: text,
  model: text,
  promptTokens: count,
  cachedTokens: count,
  outputTokens: count,
  costUsd: usd,
  latencyMs: count,
  fromCache: z.boolean().catch(false).default(false),
  finishReason: text,
  /** The provider's name of the request. */
  requestId: text,
  /** From the sending to the first piece of a streamed answer. */
  firstTokenMs: z.number().optional().catch(undefined),
  budgetWaitMs: z.number().optional().catch(undefined),
});

const detailSchema = z.object({
  /** Of a job: its calls, in their order. */
  answers: z.array(answerSchema).catch([]).default([]),
  prompt: text,
  answer: text,
  errorMessage: text,
  errorCategory: text,
});
/** What the history is told beside the figures. */
export type OutboxDetail = z.input<typeof detailSchema>;

const base = {
  version: z.coerce.number(),
  id: z.string().min(1),
  tenant: z.string().default(DEFAULT_TENANT),
  state: z.string(),
  type: z.string(),
  endedAt: z.coerce.number(),
  detail: detailSchema,
};
const outboxEventSchema = z.discriminatedUnion("kind", [
  z.object({ ...base, kind: z.literal("job"), figures: jobFigures }),
  z.object({ ...base, kind: z.literal("run"), figures: runFigures }),
  z.object({ ...base, kind: z.literal("batch"), figures: batchFigures }),
  z.object({ ...base, kind: z.literal("schedule"), figures: scheduleFigures }),
  z.object({ ...base, kind: z.literal("alert"), figures: alertFigures }),
]);
/** An event of the outbox. Times are epoch milliseconds; costs are in USD and, rounded, in millionths of it. */
export type OutboxEvent = z.infer<typeof outboxEventSchema>;
export type JobFigures = z.input<typeof jobFigures>;
export type AlertFigures = z.input<typeof alertFigures>;

/** Returns the fields of an entry in today's shape; undefined for one of a later version. */
function upcast(entry: Record<string, string>): Record<string, unknown> | undefined {
  switch (Number(entry.v)) {
    case OUTBOX_VERSION:
      return {
        ...entry,
        figures: fieldsOf(parseJson(entry.figures ?? "")),
        detail: fieldsOf(parseJson(entry.detail ?? "")),
      };
    default:
      return undefined;
  }
}

/** Reads an entry's fields, names and values in turn; undefined when it is damaged or a later version wrote it. */
export function readOutboxEvent(fields: readonly string[]): OutboxEvent | undefined {
  const entry: Record<string, string> = {};
  for (let i = 0; i + 1 < fields.length; i += 2) entry[fields[i] ?? ""] = fields[i + 1] ?? "";
  const parsed = outboxEventSchema.safeParse(upcast(entry));
  return parsed.success ? parsed.data : undefined;
}
