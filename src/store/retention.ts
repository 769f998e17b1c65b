import type { Queue } from "bullmq";
import type { BlobRef } from "../shared/catalog.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import type { Retention } from "../shared/retention.ts";
import type { Settings } from "../shared/settings.ts";
import { isBlobRef, releaseBlob } from "./blobs.ts";
import { jobKey, partsOf } from "./bullmq-internals.ts";
import { FORGET_MS, forgetQueue, type RegisteredQueue, readRegistry } from "./queue-registry.ts";
import { repliesOf } from "./redis.ts";
import { clockOf } from "./redis-clock.ts";
import { sweepEndedRuns } from "./run-retention.ts";
import type { Store } from "./store.ts";
import { sweepTenants } from "./tenant-retention.ts";
import { withQueue } from "./with-queue.ts";

/** Jobs that are removed at a time. */
const CHUNK = 1000;
const ANY = ["wait", "prioritized", "active", "delayed", "waiting-children", "completed", "failed"] as const;

/** Removes what has ended longer ago than the settings say: jobs and runs. Called by the process that is elected for it. */
export async function sweepEnded(
  store: Store,
  settings: Pick<Settings, "retention">,
  logger: Logger,
): Promise<void> {
  await sweepEndedJobs(store, settings, logger);
  const runs = await sweepEndedRuns(store, (await clockOf(store).fresh()) - settings.retention.runsMs);
  if (runs > 0) logger.debug({ runs }, "ended runs were removed by their age");
  await sweepTenants(store, settings.retention, logger);
}

/**
 * Removes the jobs of a namespace that ended longer ago than the settings say, with their requests and what is shown of
 * their answers: BullMQ itself looks at their age only when another job of the queue ends. Queues that have been quiet for 30
 * days are forgotten.
 */
export async function sweepEndedJobs(
  store: Store,
  { retention }: { retention: Pick<Retention, "completedMs" | "failedMs"> },
  logger: Logger,
): Promise<void> {
  for (const queue of await readRegistry(store)) {
    const removed = await withQueue(store, queue.name, async (bullmq) => {
      const completed = await clean(bullmq, "completed", retention.completedMs);
      const failed = await cleanFailed(store, bullmq, retention.failedMs);
      await forgetIfQuiet(store, queue, bullmq);
      return { completed, failed };
    });
    if (removed.completed + removed.failed > 0) {
      logger.debug({ queue: queue.name, ...removed }, "ended jobs were removed by their age");
    }
  }
}

async function clean(queue: Queue, state: "completed" | "failed", olderThanMs: number): Promise<number> {
  let removed = 0;
  for (;;) {
    const ids = await queue.clean(olderThanMs, CHUNK, state);
    removed += ids.length;
    if (ids.length < CHUNK) return removed;
  }
}

/** As `clean`, with the requests of these jobs that lie outside of them. */
async function cleanFailed(store: Store, queue: Queue, olderThanMs: number): Promise<number> {
  let removed = 0;
  for (;;) {
    const { failed } = partsOf(store, queue.name);
    const due = await store.redis.zrangebyscore(failed, "-inf", Date.now() - olderThanMs, "LIMIT", 0, CHUNK);
    const requests = await requestBlobs(store, queue.name, due);
    const ids = await queue.clean(olderThanMs, CHUNK, "failed");
    for (const id of ids) {
      const blob = requests.get(id);
      if (blob) await releaseBlob(store, blob, id);
    }
    removed += ids.length;
    if (ids.length < CHUNK) return removed;
  }
}

async function requestBlobs(
  store: Store,
  queue: string,
  jobIds: readonly string[],
): Promise<Map<string, BlobRef>> {
  const pipeline = store.redis.pipeline();
  for (const id of jobIds) pipeline.hget(jobKey(store, queue, id), "data");
  const data = await repliesOf(pipeline);
  return new Map(
    jobIds.flatMap((id, n): [string, BlobRef][] => {
      const { request } = fieldsOf(parseJson(String(data[n] ?? "null")));
      return isBlobRef(request) ? [[id, request]] : [];
    }),
  );
}

async function forgetIfQuiet(
  store: Store,
  { name, registeredAt }: RegisteredQueue,
  queue: Queue,
): Promise<void> {
  const before = Date.now() - FORGET_MS;
  if (registeredAt > before || (await jobCount(queue)) > 0) return;
  const { meta, ...rest } = standingParts(store, name);
  // Somebody has paused it, and finds it paused when it is used again.
  const kept = (await queue.isPaused()) ? [] : [meta];
  await forgetQueue(store, name, { before, rest: [...Object.values(rest), ...kept] });
}

/** The keys of a queue without jobs. */
function standingParts(store: Store, name: string) {
  const { meta, events, marker, counter, stalled, limiter } = partsOf(store, name);
  return {
    ...{ meta, events, marker, counter, stalled, limiter },
    ids: jobKey(store, name, "id"),
    stalledCheck: jobKey(store, name, "stalled-check"),
    interactiveShares: store.keys.shares(name, "interactive"),
    batchShares: store.keys.shares(name, "batch"),
  };
}

/** Jobs in any state. */
async function jobCount(queue: Queue): Promise<number> {
  const counts = await queue.getJobCounts(...ANY);
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** How many jobs of a queue an operator would lose with it. */
export interface QueueRemoval {
  unfinished: number;
  ended: number;
}

/**
 * Removes a queue with all its jobs; their result records stay. Without `force` it removes nothing while jobs wait, are delayed or
 * run. Returns what it had.
 */
export async function removeQueue(store: Store, name: string, force: boolean): Promise<QueueRemoval> {
  return withQueue(store, name, async (queue) => {
    const { completed = 0, failed = 0 } = await queue.getJobCounts("completed", "failed");
    const ended = completed + failed;
    const unfinished = (await jobCount(queue)) - ended;
    if (unfinished === 0 || force) {
      await forgetQueue(store, name);
      await queue.obliterate({ force });
    }
    return { unfinished, ended };
  });
}
