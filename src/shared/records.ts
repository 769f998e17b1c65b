import { z } from "zod";
import { decisionSchema } from "./approval.ts";
import { blobRefSchema, type CompletionPayload } from "./catalog.ts";
import { chatCompletionSchema } from "./chat.ts";
import { errorRecordSchema } from "./error-record.ts";
import { guardrailReportSchema } from "./guardrail.ts";
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
  /** Images and files that the model was shown beside it, in the words of Chat Completions, as data URLs. */
  parts: z
    .array(z.looseObject({ type: z.string() }))
    .min(1)
    .optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  /** What a person, or the time-out, said of the call; absent where nobody was asked. */
  approval: decisionSchema.optional(),
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

/** A lane at a lower price: a provider's batch, or its tier flex. */
export const laneSchema = z.enum(["batch", "flex"]);
export type LaneName = z.infer<typeof laneSchema>;

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
  /** How its answer, or the last one of several, was bought, where that was not online. */
  lane: laneSchema.optional(),
  /** Why a call of it was bought online, though a lane was asked for. */
  laneMissed: z.string().optional(),
  /** The answer, or the last one of several, was in the cache already. */
  fromCache: z.literal(true).optional(),
  /** The question whose answer this is was only like this one: the cosine of their vectors. */
  similarity: z.number().optional(),
  /** Provider calls that brought an answer; those that the cache saved are not counted. */
  calls: z.number().optional(),
  /** Answers of the model, cached ones included. */
  turns: z.number().optional(),
  /** The agent that answered. */
  agent: z.string().optional(),
  /** What guardrails said of it, but for what they allowed. */
  guardrails: z.array(guardrailReportSchema).optional(),
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
  /** Of the trace that it belongs to; undefined where that is one of its own. */
  traceId: z.string().optional(),
  /** The last lines of the job's log, which goes with the job; absent for rows of batches, and without attempts before the last one. */
  log: z.array(z.string()).optional(),
});
export type ResultRecord = z.infer<typeof resultRecordSchema>;

/**
 * Returns the record in the text that stands under its key; undefined for none, and for the mark of a row.
 * @throws GlueError `corrupt_data`
 */
export function parseRecord(jobId: string, text: string | null): ResultRecord | undefined {
  if (text === null || text === ACKNOWLEDGED) return undefined;
  return readRecordValue(jobId, () => JSON.parse(text));
}

/** Returns the record that a stored value is. @throws GlueError `corrupt_data` */
export function readRecordValue(jobId: string, read: () => unknown): ResultRecord {
  return readStored(`the result record of job ${jobId}`, () => resultRecordSchema.parse(read()));
}

/** `entry:model`, or the model alone in records of older versions. */
export function modelKeyOf({ entry, model }: Pick<ResultRecord, "entry" | "model">): string {
  return entry === undefined ? model : modelRef(entry, model).key;
}

/** Returns what a job cost in USD; null when nobody knows it. Whoever got no answer paid nothing, as the history has it too. */
export function paidUsd({
  status,
  costUsd,
  calls = status === "succeeded" ? 1 : 0,
}: Pick<ResultRecord, "status" | "calls" | "costUsd">): number | null {
  return calls === 0 && costUsd === null ? 0 : costUsd;
}

/** A record without an answer. */
export function emptyRecord(
  jobId: string,
  { provider, model, tenant, ...payload }: Pick<CompletionPayload, "provider" | "model" | "tenant"> & Traced,
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
    ...tracedBy(payload),
  };
}

type Traced = Partial<Pick<CompletionPayload, "traceparent" | "batch">>;

/** What a record keeps of the trace that its payload names. A row's job is a trace of its own. */
export function tracedBy({ traceparent, batch }: Traced): Pick<ResultRecord, "traceId"> {
  return traceparent !== undefined && batch === undefined ? { traceId: traceparent.slice(3, 35) } : {};
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
  /** What the batch was quoted for: JSON of `{p10, p50, p90}` in USD; absent without a quote. */
  quotedUsd: z.string().optional(),
  /** With a limit: what its calls cost, those included whose outcome is unknown; and what is held for calls under way. */
  spentUsd: count,
  reservedUsd: count,
  /** Rows that its run has in the queues, and how many it has finished per second of late; only true while it is run. */
  inFlight: count,
  rowsPerSecond: count,
  /** What failed in its present run, or its last one, by cause: JSON of FailureCause[]. */
  failures: z.string().optional(),
  /** The provider batches that have rows of it now: JSON of LaneStatus[]. */
  lanes: z.string().optional(),
  /** Succeeded rows that were bought in provider batches and in the tier flex, and what that saved against single calls. */
  batchRows: count,
  flexRows: count,
  savedUsd: count,
  /** Where the ids of its rows' jobs are masked, as encryption has them; absent: they are the rows' own. */
  rowIds: z.literal("masked").optional(),
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
  /**
   * `intended`, `creating`, `unknown` (nobody can tell whether the provider has it), `in_progress`, `cancelling` or `ended`; `online`
   * is no batch: rows of the model go online.
   */
  state: z.string(),
  /** Why rows go online though provider batches were asked for; of `unknown`: why it is, and what becomes of its rows. */
  reason: z.string().optional(),
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
