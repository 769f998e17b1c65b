import { z } from "zod";
import type { Store } from "./store.ts";

/** A worker process counts as gone when it has not renewed its card for this long. */
export const WORKER_TTL_SECONDS = 15;

/** What a worker process says of itself. */
const workerCardSchema = z.object({
  host: z.string(),
  pid: z.number(),
  queueGlobs: z.array(z.string()),
  /** It takes no jobs until it has more memory. */
  isMemoryLow: z.boolean().default(false),
  /** Names of the tools it can run. */
  tools: z.array(z.string()).default([]),
  /** Provider entry → fingerprint, of the entries it has a key for. */
  entries: z.record(z.string(), z.string()),
  /** Names of the workflows that it runs. */
  workflows: z.array(z.string()).default([]),
});
export type WorkerCard = z.infer<typeof workerCardSchema>;

/** Of the worker processes that are alive. */
export async function readWorkerCards(store: Store): Promise<WorkerCard[]> {
  const ids = await store.redis.smembers(store.keys.workers);
  if (ids.length === 0) return [];
  const cards = await store.redis.mget(ids.map((id) => store.keys.worker(id)));
  const gone = ids.filter((_, i) => cards[i] === null);
  if (gone.length > 0) await store.redis.srem(store.keys.workers, ...gone);
  return cards.flatMap((json) => (json ? [workerCardSchema.parse(JSON.parse(json))] : []));
}
