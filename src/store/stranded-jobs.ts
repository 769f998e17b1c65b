import { partsOf, QUEUE_PARTS } from "./bullmq-internals.ts";
import { PUSH_JOB, WAKE_KEYS, wakeKeys } from "./bullmq-sleep.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * Jobs that are in no state. BullMQ takes up to 1,000 delayed jobs whose time has come out of their set, then moves one after
 * the other; at a key of the wrong type it fails, and those after it are nowhere: nobody would ever run them. They are found
 * by their keys.
 *
 * | from     | to        | by                | who                                          |
 * |----------|-----------|-------------------|----------------------------------------------|
 * | stranded | waiting   | `putBackStranded` | the worker that met the fault; an operator   |
 * | stranded | set aside | `setAside`        | the same, when it is not even a hash         |
 */

/**
 * Puts a job back that is in no state.
 * Keys: those of `WAKE_KEYS`, and where else a job may be. Arguments: its `id`, whether only to look. Returns: 1 when it was
 * in no state, else 0. Called by `findStranded` and `putBackStranded`. Fence: the state itself; BullMQ's scripts never leave a
 * job without one.
 */
const PUT_BACK = new Script({
  keys: [...WAKE_KEYS, "active", "completed", "failed"],
  args: { id: "text", onlyLook: "flag" },
  lua: `${PUSH_JOB}
    if redis.call('TYPE', job).ok ~= 'hash' or redis.call('HEXISTS', job, 'finishedOn') == 1 then return 0 end
    for _, list in ipairs({ active, wait }) do
      if redis.call('LPOS', list, id) then return 0 end
    end
    for _, set in ipairs({ prioritized, delayed, waitingChildren, completed, failed }) do
      if redis.call('ZSCORE', set, id) then return 0 end
    end
    if not onlyLook then pushJob(id, 'delayed') end
    return 1
  `,
});

export interface StrandedJob {
  queue: string;
  jobId: string;
  /** Its key is of another type: it can only be set aside. */
  isDamaged: boolean;
}

/** Returns the jobs of these queues that are in no state. It looks at all keys of Redis. */
export async function findStranded(store: Store, queues: readonly string[]): Promise<StrandedJob[]> {
  const found: StrandedJob[] = [];
  const [only] = queues;
  const start = `${store.keys.prefix}:`;
  const match = `${start}${queues.length === 1 ? `${only}:` : ""}`.replace(/[\\*?[\]]/g, "\\$&");
  for await (const keys of store.redis.scanStream({ match: `${match}*`, count: 1000 })) {
    for (const key of keys as string[]) {
      const [queue = "", jobId = "", ...part] = key.slice(start.length).split(":");
      if (!queues.includes(queue) || part.length > 0 || QUEUE_PARTS.has(jobId)) continue;
      const type = await store.redis.type(key);
      if (type !== "hash" && type !== "none" && !(await isDelayed(store, queue, jobId))) {
        found.push({ queue, jobId, isDamaged: true });
      } else if (await run(store, queue, jobId, { onlyLook: true })) {
        found.push({ queue, jobId, isDamaged: false });
      }
    }
  }
  return found;
}

/** Puts such a job back into its queue. Returns false when it is in a state by now. */
export function putBackStranded(
  store: Store,
  { queue, jobId }: Pick<StrandedJob, "queue" | "jobId">,
): Promise<boolean> {
  return run(store, queue, jobId, { onlyLook: false });
}

async function run(store: Store, queue: string, jobId: string, { onlyLook }: { onlyLook: boolean }) {
  const { active, completed, failed } = partsOf(store, queue);
  const keys = { ...wakeKeys(store, queue, jobId), active, completed, failed };
  return (await PUT_BACK.run(store.redis, keys, { id: jobId, onlyLook })) === 1;
}

/** One that is not due yet does no harm, and is found where it is. */
async function isDelayed(store: Store, queue: string, jobId: string): Promise<boolean> {
  return (await store.redis.zscore(partsOf(store, queue).delayed, jobId)) !== null;
}
