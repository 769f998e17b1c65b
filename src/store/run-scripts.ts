import { WORKFLOW_QUEUE } from "../shared/catalog.ts";
import { RedisScript } from "./redis-script.ts";
import { parseEntry } from "./run-journal.ts";
import { RUN_TTL_SECONDS } from "./run-record.ts";
import type { Store } from "./store.ts";
import type { JournalEntry } from "./workflow-journal.ts";

/** A worker's hold on a run: its job's lock. */
export interface RunLock {
  store: Store;
  runId: string;
  token: string;
}

/** Another worker has the run, or the run has ended. */
export type Denied = "fenced" | "over";

/** Only the holder of the lock of a running run gets past these lines. */
const FENCE = `
  local lock, run, journal = KEYS[1], KEYS[2], KEYS[3]
  if redis.call('GET', lock) ~= ARGV[1] then return 'fenced' end
  if redis.call('HGET', run, 'status') ~= 'running' then return 'over' end
`;

const APPEND = new RedisScript(`${FENCE}
  for i = 3, #ARGV do redis.call('RPUSH', journal, ARGV[i]) end
  redis.call('EXPIRE', journal, math.max(1, redis.call('TTL', run)))
  return redis.call('LRANGE', journal, ARGV[2], -1)
`);

/**
 * Puts the run to sleep unless something has happened that its function has not seen. Touches BullMQ's keys as its
 * own `moveToWaitingChildren` and `moveToDelayed` do; the job counts as delayed when it has a time to wake.
 */
const SUSPEND = new RedisScript(`${FENCE}
  local active, stalled, waitingChildren, delayed, marker, events = unpack(KEYS, 4, 9)
  local token, seen, id, now, wakeAt = unpack(ARGV, 1, 5)
  local length = redis.call('LLEN', journal)
  if length > tonumber(seen) then return 'news' end
  if length < tonumber(seen) then return 'rewound' end
  if redis.call('LREM', active, -1, id) == 0 then return 'fenced' end
  redis.call('DEL', lock)
  redis.call('SREM', stalled, id)
  if #ARGV > 5 then redis.call('HSET', run, unpack(ARGV, 6)) end
  if wakeAt == '' then
    redis.call('ZADD', waitingChildren, now, id)
    redis.call('XADD', events, '*', 'event', 'waiting-children', 'jobId', id, 'prev', 'active')
  else
    redis.call('ZADD', delayed, wakeAt * 0x1000, id)
    local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
    redis.call('ZADD', marker, first[2] / 0x1000, '1')
    redis.call('XADD', events, '*', 'event', 'delayed', 'jobId', id, 'delay', wakeAt)
  end
  return 'suspended'
`);

/** Steps that nobody waits for any more would keep BullMQ from completing the job: it forgets them. */
const FINISH = new RedisScript(`${FENCE}
  redis.call('HSET', run, unpack(ARGV, 5))
  redis.call('HDEL', run, 'blocked')
  redis.call('EXPIRE', run, ARGV[2])
  redis.call('EXPIRE', journal, ARGV[2])
  redis.call('DEL', KEYS[4])
  redis.call('PUBLISH', ARGV[3], 'result:' .. ARGV[4])
  return 'finished'
`);

const BLOCK = new RedisScript(`${FENCE}
  redis.call('HSET', run, 'blocked', ARGV[2])
  redis.call('PUBLISH', ARGV[3], 'result:' .. ARGV[4])
  return 'blocked'
`);

function fenceKeys({ store, runId }: RunLock): string[] {
  return [
    store.keys.jobLock(WORKFLOW_QUEUE, runId),
    store.keys.workflow(runId),
    store.keys.workflowJournal(runId),
  ];
}

/** Appends to the journal. @returns its entries from `seen` on, which are those appended and what came before them. */
export async function appendEntries(
  lock: RunLock,
  seen: number,
  entries: readonly JournalEntry[],
): Promise<JournalEntry[] | Denied> {
  const texts = entries.map((entry) => JSON.stringify(entry));
  const reply = (await APPEND.run(lock.store.redis, fenceKeys(lock), [lock.token, seen, ...texts])) as
    | string[]
    | Denied;
  return typeof reply === "string" ? reply : reply.map(parseEntry);
}

/** @throws Error when Redis has lost entries that the function has seen */
export async function suspendRun(
  lock: RunLock,
  seen: number,
  wakeAt: number | undefined,
  fields: readonly string[],
): Promise<"suspended" | "news" | Denied> {
  const { store, runId, token } = lock;
  const parts = ["active", "stalled", "waiting-children", "delayed", "marker", "events"];
  const queueKeys = parts.map((part) => store.keys.job(WORKFLOW_QUEUE, part));
  const args = [token, seen, runId, Date.now(), wakeAt ?? "", ...fields];
  const outcome = await SUSPEND.run(store.redis, [...fenceKeys(lock), ...queueKeys], args);
  if (outcome === "rewound") throw new Error("the run's journal has lost its end");
  return outcome as "suspended" | "news" | Denied;
}

/** Makes a run's end final. Everything after it (BullMQ's own completion) may be lost without harm. */
export async function finishRun(lock: RunLock, fields: readonly string[]): Promise<"finished" | Denied> {
  const { store, runId, token } = lock;
  const dependencies = `${store.keys.job(WORKFLOW_QUEUE, runId)}:dependencies`;
  const args = [token, RUN_TTL_SECONDS, store.keys.channel, runId, ...fields];
  return (await FINISH.run(store.redis, [...fenceKeys(lock), dependencies], args)) as "finished" | Denied;
}

/** Says why no worker could go on with the run, until one can. */
export async function blockRun(lock: RunLock, error: string): Promise<void> {
  const { store, runId, token } = lock;
  await BLOCK.run(store.redis, fenceKeys(lock), [token, error, store.keys.channel, runId]);
}

export async function unblockRun({ store, runId }: RunLock): Promise<void> {
  await store.redis.hdel(store.keys.workflow(runId), "blocked");
}
