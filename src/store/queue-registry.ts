import { isOfModel, MAX_QUEUES } from "../shared/catalog.ts";
import { ConfigurationError } from "../shared/errors.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { isQueueName } from "../shared/queue-name.ts";
import { queuesWithJobs } from "./bullmq-internals.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { notify } from "./topics.ts";

/*
 * The queues of a namespace: the hash `:queues`, name → JSON of when it was last registered. Who adds jobs registers their
 * queue every few seconds, since Redis may have been emptied, and so that the time tells when it was last used.
 *
 * | from           | to         | by              | who                                                         |
 * |----------------|------------|-----------------|-------------------------------------------------------------|
 * | any            | registered | `registerQueue` | a producer, before it adds a job                            |
 * | registered     | none       | `forgetQueue`   | the sweeper, when it is quiet for 30 days; or an operator   |
 */

/** A queue that has no jobs and was last registered so long ago is forgotten. */
export const FORGET_MS = 30 * 86_400_000;

/**
 * Makes a queue known to workers and dashboards. Registering twice is harmless.
 * @param maxActive how many queues of models may have jobs at a time; those of workflows do not count
 * @throws ConfigurationError `too_many_queues` when it is new and so many have jobs
 */
export async function registerQueue(store: Store, queue: string, maxActive = MAX_QUEUES): Promise<void> {
  const { redis, keys } = store;
  const isNew = await redis.hset(keys.queues, queue, JSON.stringify({ registeredAt: Date.now() }));
  if (isNew && isOfModel(queue) && !(await hasRoom(store, maxActive))) {
    await redis.hdel(keys.queues, queue);
    throw new ConfigurationError(
      `queue ${queue} would be one too many: ${maxActive} of this namespace have jobs`,
      "wait for one of them, use another GLUELLM_NAMESPACE, or raise GLUELLM_MAX_QUEUES",
      "too_many_queues",
    );
  }
  await notify(store, "queue", queue);
}

/** The queue itself has no jobs yet. */
async function hasRoom(store: Store, maxActive: number): Promise<boolean> {
  const ofModels = (await registeredQueues(store)).filter(isOfModel);
  if (ofModels.length <= maxActive) return true;
  return (await queuesWithJobs(store, ofModels, { asleep: true })).length < maxActive;
}

export interface RegisteredQueue {
  name: string;
  /** In epoch milliseconds. */
  registeredAt: number;
}

/** Returns the namespace's queues, sorted by name; without what can be no queue's name. */
export async function readRegistry(store: Store): Promise<RegisteredQueue[]> {
  const entries = Object.entries(await store.redis.hgetall(store.keys.queues));
  const queues = entries.map(([name, json]) => {
    const registeredAt = Number(fieldsOf(parseJson(json)).registeredAt) || 0;
    return { name, registeredAt };
  });
  return queues.filter(({ name }) => isQueueName(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Returns the names of the namespace's queues, sorted; without what can be no queue's name. */
export async function registeredQueues(store: Store): Promise<string[]> {
  return (await store.redis.hkeys(store.keys.queues)).filter(isQueueName).sort();
}

/** Returns what stands in the registry and can be no queue's name. */
export async function malformedQueueNames(store: Store): Promise<string[]> {
  return (await store.redis.hkeys(store.keys.queues)).filter((name) => !isQueueName(name));
}

/**
 * Takes a name out of the registry, and deletes what else there is of the queue. Keys: the registry; the rest. Arguments: the `name`; the
 * time in epoch milliseconds after which it must not have been registered, or nothing. Returns: 1 when it was taken out. Called by
 * `forgetQueue`. Fence: the time, so that a queue that is used again meanwhile stays: who adds jobs has registered it just before.
 */
const FORGET = new Script({
  keys: ["queues"],
  args: { name: "text", before: "number?" },
  moreKeys: "rest",
  lua: `
    local json = redis.call('HGET', queues, name)
    if not json then return 0 end
    local isRead, entry = pcall(cjson.decode, json)
    if before and isRead and type(entry) == 'table' and (tonumber(entry.registeredAt) or 0) > before then return 0 end
    for _, key in ipairs(rest) do redis.call('DEL', key) end
    return redis.call('HDEL', queues, name)
  `,
});

/**
 * Takes a queue's name out of the registry, unless it was registered after `before`; its next job brings it back.
 * @param rest keys of what is left of a queue without jobs, which go with it
 */
export async function forgetQueue(
  { redis, keys }: Store,
  name: string,
  { before, rest = [] }: { before?: number; rest?: readonly string[] } = {},
): Promise<boolean> {
  return (await FORGET.run(redis, { queues: keys.queues }, { name, before }, { keys: rest })) === 1;
}
