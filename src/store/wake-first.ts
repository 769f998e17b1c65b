import { WAKE, WAKE_KEYS, wakeKeys } from "./bullmq-sleep.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/**
 * Has a delayed job taken next, when it is delayed for the given reason.
 * Keys: as `WAKE`. Arguments: `id`, the `reason`. Returns: 1 when the job was woken, else 0. Called by the worker that put
 * it back, once the reason has passed. Fence: none; whoever takes the job looks for itself.
 *
 * Assumes what `WAKE` does; that workers take the right end of `wait` first; and that the job's field `progress` is the
 * JSON of what `updateProgress` was given.
 */
const WAKE_FIRST = new Script({
  keys: [...WAKE_KEYS],
  args: { id: "text", reason: "text" },
  lua: `${WAKE}
    local progress = redis.call('HGET', job, 'progress')
    if not progress or not string.find(progress, reason, 1, true) or not wakeJob(id) then return 0 end
    if redis.call('LREM', wait, 1, id) == 1 then redis.call('RPUSH', wait, id) end
    return 1
  `,
});

/** Has a delayed job taken next. @returns false when it is not delayed for that reason. */
export async function wakeFirst(
  store: Store,
  queue: string,
  jobId: string,
  reason: string,
): Promise<boolean> {
  return (await WAKE_FIRST.run(store.redis, wakeKeys(store, queue, jobId), { id: jobId, reason })) === 1;
}
