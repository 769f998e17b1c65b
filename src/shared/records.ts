import { z } from "zod";
import { blobRefSchema, type CompletionPayload } from "./catalog.ts";
import { chatCompletionSchema } from "./chat.ts";
import { errorRecordSchema } from "./error-record.ts";
import { modelRef } from "./model-name.ts";
import { readStored } from "./stored-data.ts";
import { ownerFields } from "./tenant.ts";

/** A row whose result is safe in its file while its job has not left BullMQ's hands yet. */
export const ACKNOWLEDGED = "acknowledged";

export const toolExecutionSchema = z.object({
  /** The number of the model's answer that asked for it, from 0. */
  turn: z.number(),
  /** The model's id of the call. */
  callId: z.string(),
  toolName: z.string(),
  /** The arguments as parsed JSON; the model's own text where it is none. */
  arguments: z.unknown(),
  /** The text that the model was told; absent on an error. */
  result: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  durationMs: z.number(),
});
/** A tool call that a worker ran, or refused to run. */
export type ToolExecution = z.infer<typeof toolExecutionSchema>;

export const fallbackSchema = z.object({
  /** `entry:model`. */
  model: z.string(),
  code: z.string(),
  message: z.string(),
});
/** A model that a job gave up for its next one, with the error that made it so. */
export type Fallback = z.infer<typeof fallbackSchema>;

/** The result of a job: the truth that every attempt looks for before it pays. */
const resultRecordSchema = z.object({
  v: z.literal(1),
  jobId: z.string(),
  status: z.enum(["succeeded", "failed", "cancelled"]),
  tenant: ownerFields.tenant,
  /** The provider entry. */
  entry: z.string().optional(),
  model: z.string(),
  /** The models that were given up before `model`. */
  fallbacks: z.array(fallbackSchema).optional(),
  /** The provider's answer, present on success. */
  response: z
    .object({
      statusCode: z.number(),
      requestId: z.string(),
      body: z.union([chatCompletionSchema, blobRefSchema]),
    })
    .optional(),
  error: errorRecordSchema.extend({ attempts: z.number() }).optional(),
  /** What was read from a cache, or written to one, is part of `prompt`. */
  tokens: z.object({
    prompt: z.number(),
    completion: z.number(),
    total: z.number(),
    cached: z.number().default(0),
    cacheWritten: z.number().optional(),
    /** Some of it is a guess: a provider did not report what it used. */
    estimated: z.literal(true).optional(),
  }),
  /** How it was bought, where that was not online: a provider's batch. */
  lane: z.literal("batch").optional(),
  /** The answer, or the last one of several, was in the cache already. */
  fromCache: z.literal(true).optional(),
  /** Provider calls that brought an answer; those that the cache saved are not counted. */
  calls: z.number().optional(),
  /** Answers of the model, cached ones included. */
  turns: z.number().optional(),
  /** Present when the job has tools. */
  toolExecutions: z.union([blobRefSchema, z.array(toolExecutionSchema)]).optional(),
  /** The value of the structured answer that was asked for. */
  output: z.union([blobRefSchema, z.object({ value: z.unknown() })]).optional(),
  /** The last answer that did not fit, on a failure. */
  rejected: z.object({ text: z.string(), problem: z.string() }).optional(),
  /** What the provider said of the call that ended the job, on a failure. */
  providerMessage: z.string().optional(),
  /** The cost in USD of all its calls; null when nobody knows it. */
  costUsd: z.number().nullable().default(null),
  /** Attempts that used up one of the job's attempts, this one included. */
  attempts: z.number(),
  /** Time of the provider calls that brought an answer, in milliseconds. */
  latencyMs: z.number(),
  finishedAt: z.number(),
});
export type ResultRecord = z.infer<typeof resultRecordSchema>;

/**
 * Returns the record in the text that stands under its key; undefined for none, and for the mark of a row.
 * @throws GlueError `corrupt_data`
 */
export function parseRecord(jobId: string, text: string | null): ResultRecord | undefined {
  if (text === null || text === ACKNOWLEDGED) return undefined;
  return readStored(`the result record of job ${jobId}`, () => resultRecordSchema.parse(JSON.parse(text)));
}

/** `entry:model`, or the model alone in records of older versions. */
export function modelKeyOf({ entry, model }: Pick<ResultRecord, "entry" | "model">): string {
  return entry === undefined ? model : modelRef(entry, model).key;
}

/** A record without an answer. */
export function emptyRecord(
  jobId: string,
  { provider, model, tenant }: Pick<CompletionPayload, "provider" | "model" | "tenant">,
  status: ResultRecord["status"],
  attempts = 1,
): ResultRecord {
  return {
    v: 1,
    jobId,
    status,
    ...(tenant !== undefined && { tenant }),
    entry: provider.entry,
    model,
    tokens: { prompt: 0, completion: 0, total: 0, cached: 0 },
    costUsd: null,
    attempts,
    latencyMs: 0,
    finishedAt: Date.now(),
  };
}

export const batchStatusSchema = z.enum([
  "validating",
  "in_progress",
  "finalizing",
  "completed",
  "failed",
  "expired",
  "cancelling",
  "cancelled",
]);
export type BatchStatus = z.infer<typeof batchStatusSchema>;
/** The states of a batch that has ended, as text: an API elsewhere may have others. */
export const BATCH_ENDS: readonly string[] = [
  "completed",
  "failed",
  "expired",
  "cancelled",
] satisfies BatchStatus[];

const count = z.coerce.number().default(0);

/** A batch as it stands in its Redis hash (all fields are strings there). Times are epoch milliseconds. */
export const batchRecordSchema = z.object({
  id: z.string(),
  status: batchStatusSchema,
  input: z.string(),
  output: z.string(),
  options: z.string().default("{}"),
  total: count,
  succeeded: count,
  failed: count,
  /** Attempts after the first. */
  retries: count,
  /** 429 and 529 answers. */
  rateLimited: count,
  promptTokens: count,
  completionTokens: count,
  cachedTokens: count,
  /** Succeeded rows whose answer was in the cache already. */
  cacheHits: count,
  /** The cost in USD of the results in the file, as far as their models are priced. */
  costUsd: count,
  /** Succeeded rows among them that nobody knows the cost of. */
  unpriced: count,
  /** What the batch may cost; absent without a limit. */
  maxCostUsd: z.coerce.number().optional(),
  /** With a limit: what its calls cost, those included whose outcome is unknown; and what is held for calls under way. */
  spentUsd: count,
  reservedUsd: count,
  /** Rows that its run has in the queues, and how many it has finished per second of late; only true while it is run. */
  inFlight: count,
  rowsPerSecond: count,
  /** What failed in its present run, or its last one, by cause: JSON of FailureCause[]. */
  failures: z.string().optional(),
  /** The provider batches that have rows of it now: JSON of LaneStatus[]; and what such saved against single calls. */
  lanes: z.string().optional(),
  savedUsd: count,
  createdAt: count,
  updatedAt: count,
  ...ownerFields,
  /** The error that lets no further row start: JSON of an ErrorRecord. */
  stop: z.string().optional(),
});
export type BatchRecord = z.infer<typeof batchRecordSchema>;

export const laneStatusSchema = z.object({
  /** `entry:model`. */
  model: z.string(),
  /** The provider's name of it, once it is known. */
  id: z.string().optional(),
  /** `intended`, `creating`, `unknown` (it may have been made), `in_progress`, `cancelling` or `ended`. */
  state: z.string(),
  rows: z.number(),
  /** As far as the provider tells before its end. */
  done: z.number(),
});
/** Where a provider batch stands that has rows of a batch. */
export type LaneStatus = z.infer<typeof laneStatusSchema>;

/** The process that sends a batch's rows, as its lease names it. */
export const leaseHolderSchema = z.object({
  host: z.string(),
  pid: z.number(),
  /** Start of the process in clock ticks or text: a pid alone is reused. */
  startedAt: z.string(),
  token: z.string(),
});
export type LeaseHolder = z.infer<typeof leaseHolderSchema>;

/** The lease's full life; it may be taken over once it has not been renewed for LEASE_LAPSE_MS. */
export const LEASE_LIFE_MS = 75_000;
export const LEASE_LAPSE_MS = 15_000;
