import { z } from "zod";
import { batchFaultSchema } from "../shared/file-check.ts";
import { type BatchRecord, batchStatusSchema } from "../shared/records.ts";
import { ownerFields } from "../shared/tenant.ts";

/* The record of a batch of the API; its transitions are in served-batch.ts. */

export const SERVED_ENDPOINTS = ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"] as const;
/** Of lines of Anthropic's Message Batches; ids of such batches have a prefix of their own. */
export const MESSAGES_ENDPOINT = "/v1/messages";

const time = z.coerce.number().optional();
const json = <T extends z.ZodType>(schema: T) =>
  z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(schema);

/** Times are epoch milliseconds. */
export const servedBatchSchema = z.object({
  id: z.string(),
  ...ownerFields,
  status: batchStatusSchema,
  endpoint: z.enum([...SERVED_ENDPOINTS, MESSAGES_ENDPOINT]),
  inputFileId: z.string(),
  /** The ids that its results get, if there are any; which, `outputs` says at the end. */
  outputFileId: z.string(),
  errorFileId: z.string(),
  outputs: json(z.object({ output: z.boolean(), errors: z.boolean() })).optional(),
  /** `24h` */
  completionWindow: z.string(),
  outputLifeSeconds: z.coerce.number(),
  /** Of a key with a cost limit: each model needs a price. */
  needsPrices: z.literal("true").optional(),
  metadata: json(z.record(z.string(), z.string())).optional(),
  faults: json(z.array(batchFaultSchema)).optional(),
  /** The batch whose failed rows these are, and the batch of the failed rows of this one. */
  retryOf: z.string().optional(),
  retriedAs: z.string().optional(),
  /** The schedule that made it. */
  schedule: z.string().optional(),
  createdAt: z.coerce.number(),
  expiresAt: z.coerce.number(),
  pausedAt: time,
  inProgressAt: time,
  finalizingAt: time,
  completedAt: time,
  failedAt: time,
  expiredAt: time,
  cancellingAt: time,
  cancelledAt: time,
});
export type ServedBatch = z.infer<typeof servedBatchSchema>;
export type ServedStatus = ServedBatch["status"];

/** Its counts and sums come from the run's record; undefined before that has begun. */
export interface ServedBatchView {
  batch: ServedBatch;
  run: BatchRecord | undefined;
}
