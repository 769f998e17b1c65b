import { channel } from "node:diagnostics_channel";
import { NEVER_LIMITING } from "../shared/catalog.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName, parseCompletionQueueName } from "../shared/queue-name.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import type { RedisKeys } from "../store/redis-keys.ts";
import { RedisScript } from "../store/redis-script.ts";
import type { Store } from "../store/store.ts";
import { notify } from "../store/topics.ts";
import type { FleetBudgets } from "./fleet-budgets.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** Who waits when a provider asks for a pause: the job alone, its queue, or every queue that shares its budget. */
export type SnoozeScope = "job" | "queue" | "budget";

interface PauseContext {
  store: Store;
  budgets: FleetBudgets;
  limiter: RateLimiter;
}

const pauseChannel = channel("gluellm:pause");

/**
 * Does what BullMQ's `queue.rateLimit` does, for several queues at once, and never shortens a longer pause that another
 * call was given. KEYS: BullMQ's limiter key of each queue. ARGV: 1 ms. A lower value under a key is BullMQ's own counter.
 * Called by `pauseQueues`.
 */
const PAUSE = new RedisScript(`
  local PAUSED, ms = 9007199254740991, tonumber(ARGV[1])
  for _, limiter in ipairs(KEYS) do
    local value = tonumber(redis.call('GET', limiter) or '0')
    if value < PAUSED or redis.call('PTTL', limiter) < ms then
      redis.call('SET', limiter, string.format('%.0f', PAUSED), 'PX', ms)
    end
  end
`);

/** Pauses what the provider of `model` asked for: its queue, or every queue of its budget; nothing for the job alone. */
export async function pauseModel(
  context: PauseContext,
  model: ModelRef,
  { scope, delayMs }: { scope: SnoozeScope; delayMs: number },
): Promise<void> {
  const queue = completionQueueName(model);
  if (scope === "queue") await pauseQueues(context, [queue], delayMs);
  if (scope === "budget") await pauseBudget(context, queue, model.key, delayMs);
}

/** Returns in how many milliseconds the queue of `model` goes on, 0 when it is not paused: for jobs of other queues. */
export async function pausedMs({ store }: Pick<PauseContext, "store">, model: ModelRef): Promise<number> {
  const limiter = limiterKey(store.keys, completionQueueName(model));
  const [value, ttlMs] = await Promise.all([store.redis.get(limiter), store.redis.pttl(limiter)]);
  return Number(value) >= NEVER_LIMITING.max ? Math.max(0, ttlMs) : 0;
}

/** Lets no worker of the fleet take a job from these queues for `ms`. */
async function pauseQueues(
  { store }: Pick<PauseContext, "store">,
  queues: readonly string[],
  ms: number,
): Promise<void> {
  const limiters = queues.map((queue) => limiterKey(store.keys, queue));
  await PAUSE.run(store.redis, limiters, [Math.max(1, Math.ceil(ms))]);
}

/**
 * Pauses a budget, as its provider asked: every queue of it waits, in all processes, and so do the jobs that already
 * wait for the budget. At the end of it the budget is empty, since the provider's is. Diagnostics channel
 * `gluellm:pause`: `{budget, ms}`.
 */
async function pauseBudget(context: PauseContext, queue: string, key: string, ms: number): Promise<void> {
  const { store, budgets, limiter } = context;
  const id = budgets.idOf(key);
  // A model that only jobs of several models call has no registered queue.
  const sharing = id === key ? [queue] : [...new Set([queue, ...(await queuesOf(context, id))])];
  await pauseQueues(context, sharing, ms);
  await notify(store, "pause", `${Math.ceil(ms)}:${id}`);
  await limiter.drain(id, ms);
  pauseChannel.publish({ budget: id, ms });
}

async function queuesOf({ store, budgets }: PauseContext, id: string): Promise<string[]> {
  const names = await registeredQueues(store);
  return names.filter((name) => {
    const ref = parseCompletionQueueName(name);
    return ref && budgets.idOf(ref.key) === id;
  });
}

function limiterKey({ prefix }: RedisKeys, queue: string): string {
  return `${prefix}:${queue}:limiter`;
}
