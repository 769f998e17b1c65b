import { z } from "zod";
import { parseJson } from "../shared/json.ts";
import type { Store } from "./store.ts";

/*
 * The card of a worker process: `:worker:<id>`, a JSON text that says what the process can run. `:workers` is the set of
 * all ids.
 *
 * | process | in Redis         | what changes it                                                             |
 * |---------|------------------|-----------------------------------------------------------------------------|
 * | alive   | card and id      | `announceWorker` renews the card; `withdrawWorker`, at its end, removes both |
 * | lost    | the id alone     | its card expired 15 s after its last renewal; `readWorkerCards` removes the id |
 */

/** A worker process counts as gone when it has not renewed its card for this long. */
const WORKER_TTL_SECONDS = 15;

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
  /** Names of the workflows that it runs. */
  workflows: z.array(z.string()).default([]),
  /** The version that it has of each of them. */
  versions: z.record(z.string(), z.number()).default({}),
  /** Model calls that it has now, and those it brought to their end; absent in cards of older versions. */
  jobs: z.object({ active: z.number(), ended: z.number() }).optional(),
  /** Names of the activities that it does. */
  activities: z.array(z.string()).default([]),
  /** How the process is; absent in cards of version 0.1. */
  process: z
    .object({
      /** Of the package. */
      version: z.string(),
      /** Epoch milliseconds. */
      startedAt: z.number(),
      /** Memory that it holds; and the part of what it may hold that is in use, without garbage. */
      rssBytes: z.number(),
      memoryShare: z.number(),
      /** How late timers of its event loop were in the last half second, on average. */
      lagMs: z.number(),
      /** How far its clock is ahead of that of Redis, in milliseconds; negative: behind. */
      clockAheadMs: z.number(),
      /** Names of the queues that it takes jobs from at present. */
      queues: z.array(z.string()),
    })
    .optional(),
});
export type WorkerCard = z.infer<typeof workerCardSchema>;

/** Says that the process is alive and what it can run; to be repeated every few seconds. */
export async function announceWorker(
  { redis, keys }: Store,
  workerId: string,
  card: WorkerCard,
): Promise<void> {
  const seen = Object.entries(card.versions).flatMap(([name, version]) => [
    versionField(name, version),
    Date.now(),
  ]);
  const transaction = redis.multi();
  if (seen.length > 0) transaction.hset(keys.workflowVersions, ...seen);
  await transaction
    .set(keys.worker(workerId), JSON.stringify(card), "EX", WORKER_TTL_SECONDS)
    .sadd(keys.workers, workerId)
    .exec();
}

function versionField(workflow: string, version: number): string {
  return `${workflow}@${version}`;
}

/** Returns when a worker last had this version of a workflow, in epoch milliseconds; 0 when none had it yet. */
export async function versionSeenAt(
  { redis, keys }: Store,
  workflow: string,
  version: number,
): Promise<number> {
  return Number(await redis.hget(keys.workflowVersions, versionField(workflow, version)));
}

/** Says that the process has ended, or that its card means nothing. */
export async function withdrawWorker({ redis, keys }: Store, workerId: string): Promise<void> {
  await redis.multi().del(keys.worker(workerId)).srem(keys.workers, workerId).exec();
}

/** Returns the cards of the worker processes that are alive, without those that cannot be read. */
export async function readWorkerCards(store: Store): Promise<WorkerCard[]> {
  // One that cannot be read is of a version that has other cards, or somebody else's: it says nothing of what it can run.
  return (await readCards(store)).flatMap(({ card }) => card ?? []);
}

/** Returns the same by the processes' ids, in the order of the ids. */
export async function readWorkersById(store: Store): Promise<Map<string, WorkerCard>> {
  const cards = (await readCards(store)).flatMap(({ id, card }) => (card ? [[id, card] as const] : []));
  return new Map(cards.sort(([a], [b]) => a.localeCompare(b)));
}

/** Returns the ids of the processes whose card cannot be read. */
export async function unreadableWorkerCards(store: Store): Promise<string[]> {
  return (await readCards(store)).flatMap(({ id, card }) => (card ? [] : [id]));
}

async function readCards(store: Store): Promise<{ id: string; card: WorkerCard | undefined }[]> {
  const ids = await store.redis.smembers(store.keys.workers);
  if (ids.length === 0) return [];
  const texts = await store.redis.mget(ids.map((id) => store.keys.worker(id)));
  const gone = ids.filter((_, i) => texts[i] === null);
  if (gone.length > 0) await store.redis.srem(store.keys.workers, ...gone);
  const cards = ids.map((id, i) => ({ id, text: texts[i] }));
  return cards.flatMap(({ id, text }) =>
    text ? [{ id, card: workerCardSchema.safeParse(parseJson(text)).data }] : [],
  );
}
