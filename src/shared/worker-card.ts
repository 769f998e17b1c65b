import { z } from "zod";

/** A worker process counts as gone when it has not renewed its card for this long. */
export const WORKER_TTL_SECONDS = 15;

/** What a worker process says of itself. */
export const workerCardSchema = z.object({
  host: z.string(),
  pid: z.number(),
  queueGlobs: z.array(z.string()),
  /** It takes no jobs until it has more memory. */
  isMemoryLow: z.boolean().default(false),
  /** Names of the tools it can run. */
  tools: z.array(z.string()).default([]),
  /** Provider entry → fingerprint, of the entries it has a key for. */
  entries: z.record(z.string(), z.string()),
});
export type WorkerCard = z.infer<typeof workerCardSchema>;
