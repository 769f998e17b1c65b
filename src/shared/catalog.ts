import { z } from "zod";
import { chatRequestSchema } from "./chat.ts";
import { completionQueueName } from "./queue-name.ts";

/** A large value kept outside its job or record. */
export const blobRefSchema = z.strictObject({ blob: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.number() });
export type BlobRef = z.infer<typeof blobRefSchema>;

const PAYLOAD_VERSION = 1;

/** What a completion job carries. A payload of a newer version is put back for a newer worker. */
export const completionPayloadSchema = z.object({
  v: z.literal(PAYLOAD_VERSION),
  kind: z.literal("completion"),
  requestId: z.string(),
  provider: z.object({ entry: z.string(), fingerprint: z.string() }),
  model: z.string(),
  /** The request, or where it lies when it is larger than 16 KB. */
  request: z.union([blobRefSchema, chatRequestSchema]),
  preview: z.string(),
  /** Epoch milliseconds after which no attempt starts. */
  deadlineAt: z.number(),
  /** Present on a batch's rows: the worker writes to the batch's done-list and obeys its stop flag. */
  batch: z.object({ id: z.string(), line: z.number() }).optional(),
  /** Present on a workflow's steps: the worker tells the run that its step has ended. */
  workflow: z.object({ runId: z.string(), step: z.string() }).optional(),
});
export type CompletionPayload = z.infer<typeof completionPayloadSchema>;

/** What Bull Board shows of a finished job: a summary, since the result itself is a record of its own. */
const completionSummarySchema = z.object({
  status: z.string(),
  model: z.string(),
  tokens: z.object({ prompt: z.number(), completion: z.number(), total: z.number(), cached: z.number() }),
  costUsd: z.number().nullable(),
  text: z.string(),
});
export type CompletionSummary = z.infer<typeof completionSummarySchema>;

/** Interactive callers wait; batch rows have a day. */
export type Urgency = "interactive" | "batch";

/** The job catalog: kind → schemas, queue, attempts, time and version. */
export const jobCatalog = {
  completion: {
    version: PAYLOAD_VERSION,
    input: completionPayloadSchema,
    output: completionSummarySchema,
    queue: completionQueueName,
    /** One provider call takes at most this long unless `CALL_TIMEOUT_MS` says otherwise. */
    timeoutMs: 120_000,
    interactive: { attempts: 3, priority: 0, deadlineMs: 10 * 60_000 },
    batch: { attempts: 12, priority: 10, deadlineMs: 24 * 3_600_000 },
  },
} as const;

/** The queue of workflow runs; their steps are jobs of the models' queues. */
export const WORKFLOW_QUEUE = "workflows";

/** Options every queue of the fleet shares, in BullMQ's words. */
export const QUEUE_DEFAULTS = {
  removeOnComplete: { age: 3600, count: 1000 },
  removeOnFail: { age: 30 * 86_400, count: 1000 },
  stackTraceLimit: 1,
  keepLogs: 20,
} as const;

/**
 * BullMQ enforces a queue's pause only on workers with a limiter: this one never limits by itself. A count at its
 * maximum means a pause, anything less is only its counter.
 */
export const NEVER_LIMITING = { max: 1_000_000_000, duration: 1000 } as const;

export const MAX_QUEUES = 100;
/** Payloads and results above this lie in a blob, not in their job or record. */
export const MAX_INLINE_BYTES = 16 * 1024;
