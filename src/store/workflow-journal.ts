import { type BlobRef, WORKFLOW_QUEUE } from "../shared/catalog.ts";
import type { ErrorRecord } from "../shared/error-record.ts";
import type { ResultRecord } from "../shared/records.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

export type StepKind = "completion" | "child" | "local" | "sleep" | "signal";

/** The run's function asked for a step. */
export interface AskedEntry {
  type: "asked";
  step: string;
  kind: StepKind;
  /** Digest of what was asked: another one under the same step is another step. */
  digest: string;
  at: number;
  /** The job of a completion, the run of a child. */
  job?: string;
  /** A completion's `entry:model`, a child's workflow, a wait's signal. */
  subject?: string;
  /** When a sleep ends, or a wait gives up; epoch milliseconds. */
  until?: number;
}

/** A step has ended. Only the first such entry of a step counts. */
export interface EndedEntry {
  type: "ended";
  step: string;
  at: number;
  /** Absent after success. */
  error?: ErrorRecord & { attempts?: number };
  /** What the step brought; a completion's result is in its record. */
  value?: unknown;
  /** The value, when its JSON is larger than 16 KB. */
  blob?: BlobRef;
  tokens?: { prompt: number; completion: number; total: number };
  /** null: nobody knows. */
  costUsd?: number | null;
  /** A fork has it from another run, which paid for it. */
  taken?: true;
  /** Written by the worker that has the run. */
  own?: true;
}

export type JournalEntry =
  | AskedEntry
  | EndedEntry
  | { type: "signal"; name: string; at: number; data?: unknown; blob?: BlobRef }
  | { type: "patch"; id: string; at: number }
  | { type: "cancelled"; at: number };

/**
 * Appends what happened outside to a run's journal and lets a suspended run go on at once: BullMQ itself would wait
 * for the last of its children. Touches BullMQ's keys as its own `promote` and `moveParentToWait` do. A run that a
 * worker has, or that waits for one, is only told. Without an entry it only wakes; with fields the run ends.
 */
const NOTIFY = new RedisScript(`
  local run, journal, job, wait, prioritized, waitingChildren, delayed = unpack(KEYS, 1, 7)
  local marker, meta, counter, events = unpack(KEYS, 8, 11)
  local entry, id, channel = unpack(ARGV, 1, 3)
  if redis.call('HGET', run, 'status') ~= 'running' then return 'over' end
  if entry ~= '' then
    redis.call('RPUSH', journal, entry)
    redis.call('EXPIRE', journal, math.max(1, redis.call('TTL', run)))
  end
  if #ARGV > 3 then
    redis.call('HSET', run, unpack(ARGV, 4))
    redis.call('PUBLISH', channel, 'result:' .. id)
  end
  if redis.call('ZREM', waitingChildren, id) == 0 and redis.call('ZREM', delayed, id) == 0 then
    redis.call('PUBLISH', channel, 'workflow:' .. id)
    return 'noted'
  end
  local priority = tonumber(redis.call('HGET', job, 'priority') or 0)
  if priority == 0 then
    redis.call('LPUSH', wait, id)
  else
    redis.call('ZADD', prioritized, priority * 0x100000000 + redis.call('INCR', counter) % 0x100000000, id)
  end
  redis.call('HSET', job, 'delay', 0)
  if not redis.call('HGET', meta, 'paused') then redis.call('ZADD', marker, 0, '0') end
  redis.call('XADD', events, 'MAXLEN', '~', 1000, '*', 'event', 'waiting', 'jobId', id, 'prev', 'waiting-children')
  return 'woken'
`);

export type NotifyOutcome = "woken" | "noted" | "over";

/**
 * Tells a run what happened; `over` when it has ended, or never was.
 * @param end fields and values of the run's record that end it
 */
export async function notifyRun(
  store: Store,
  runId: string,
  entry?: JournalEntry,
  end: readonly string[] = [],
): Promise<NotifyOutcome> {
  const of = (part: string) => store.keys.job(WORKFLOW_QUEUE, part);
  const outcome = await NOTIFY.run(
    store.redis,
    [
      store.keys.workflow(runId),
      store.keys.workflowJournal(runId),
      of(runId),
      ...["wait", "prioritized", "waiting-children", "delayed", "marker", "meta", "pc", "events"].map(of),
    ],
    [entry ? JSON.stringify(entry) : "", runId, store.keys.channel, ...end],
  );
  return outcome as NotifyOutcome;
}

/** How a completion of a run ended. A later success of a failed job, by an operator's retry, must not rewrite that. */
export function endOfStep(step: string, { error, tokens, costUsd }: ResultRecord): EndedEntry {
  const { prompt, completion, total } = tokens;
  const entry: EndedEntry = { type: "ended", step, at: Date.now() };
  if (error) entry.error = error;
  // What never got an answer was free, whatever its model costs.
  if (!error || total > 0 || costUsd !== null)
    Object.assign(entry, { tokens: { prompt, completion, total }, costUsd });
  return entry;
}

/** Tells the run that a completion of its has left its record. */
export async function endStep(
  store: Store,
  { runId, step }: { runId: string; step: string },
  record: ResultRecord,
): Promise<void> {
  await notifyRun(store, runId, endOfStep(step, record));
}
