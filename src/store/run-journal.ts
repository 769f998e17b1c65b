import type { BlobRef } from "../shared/catalog.ts";
import type { ErrorRecord } from "../shared/error-record.ts";
import { RUN_TTL_SECONDS } from "../shared/retention.ts";
import { storedFault } from "../shared/stored-data.ts";
import { ANNOUNCE, ANNOUNCE_RUN } from "./outbox.ts";
import { clockOf } from "./redis-clock.ts";
import { entryText, openEntry, sealRunFields } from "./run-fields.ts";
import { LEAVE_LIMITS } from "./run-limits.ts";
import {
  type Denied,
  ENDED_LIFE,
  FENCE,
  FENCE_ARGS,
  FENCE_KEYS,
  fenceArgs,
  fenceKeys,
  type RunLock,
} from "./run-turn.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";
import { WAKE_RUN } from "./wake-run.ts";

/*
 * The journal of a run: the list `:workflow:<runId>:journal`, JSON entries in the one order in which the run's function
 * sees them. It is only ever appended to, and lives as long as the run's record.
 *
 * | entry              | appended by                                                                           |
 * |--------------------|---------------------------------------------------------------------------------------|
 * | `asked`, `patch`,  | `appendEntries`: the worker that has the run's lock                                   |
 * | `tried`, `lost`,   |                                                                                       |
 * | `updated`          |                                                                                       |
 * | `ended`            | `appendEntries`: of local work and timers, and what the worker finds missing;         |
 * |                    | `notifyRun`: who ended the step, a completion's worker or a child run's;              |
 * |                    | `endActivity` (activity.ts): the worker that has the activity                         |
 * | `signal`, `update` | `notifyRun`: a caller                                                                 |
 * | `overran`          | `notifyRun`: a worker whose local work outlived its lock                              |
 * | `cancelled`        | `notifyRun`: a caller, whose entry also ends the run's record                         |
 *
 * Only the first `ended` of a step counts, so that it may be told twice.
 */

export type StepKind = "completion" | "activity" | "child" | "local" | "sleep" | "signal";

/** The run's function asked for a step. */
export interface AskedEntry {
  type: "asked";
  step: string;
  kind: StepKind;
  /** Digest of what was asked: another one under the same step is another step. */
  digest: string;
  at: number;
  /** The job of a completion or an activity, the run of a child. */
  job?: string;
  /** A completion's `entry:model`, an activity's name, a child's workflow, a wait's signal. */
  subject?: string;
  /** A child run that goes on when its parent ends. */
  abandon?: true;
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
  /** The value has tags of types (see `serialize.ts`). */
  typed?: true;
  tokens?: { prompt: number; completion: number; total: number; estimated?: true };
  /** null: nobody knows. */
  costUsd?: number | null;
  /** A fork has it from another run, which paid for it. */
  taken?: true;
  /** Written by the worker that has the run. */
  own?: true;
  /** Of local work: how long it took, in milliseconds, with all its tries since its worker got the run. */
  tookMs?: number;
}

/** A try of local work failed, and another one is due. */
export interface TriedEntry {
  type: "tried";
  step: string;
  at: number;
  /** The tries so far. */
  attempt: number;
}

/** A caller wants something of the run, and an answer. */
export interface UpdateEntry {
  type: "update";
  id: string;
  name: string;
  at: number;
  data?: unknown;
  blob?: BlobRef;
  typed?: true;
}

/** What a caller has for the next wait of this name. */
export interface SignalEntry {
  type: "signal";
  name: string;
  at: number;
  data?: unknown;
  blob?: BlobRef;
  typed?: true;
}

/** The answer to an update. */
export interface UpdatedEntry {
  type: "updated";
  id: string;
  at: number;
  error?: ErrorRecord;
  value?: unknown;
  blob?: BlobRef;
  typed?: true;
}

/** A version that does not know an entry's type passes over it. */
export type RunJournalEntry =
  | AskedEntry
  | EndedEntry
  | TriedEntry
  | UpdateEntry
  | UpdatedEntry
  /** The run's worker was lost while the function worked. */
  | { type: "lost"; at: number }
  /** Local work ended after another worker had got the run. */
  | { type: "overran"; step: string; at: number }
  | SignalEntry
  | { type: "patch"; id: string; at: number }
  | { type: "cancelled"; at: number };

/**
 * Appends what the worker that has the run brings. Keys: see `FENCE`. Arguments: those of `FENCE`, `seen`, the entries. Returns: the entries from position `seen` on, or a `Denied`. Called by `appendEntries`, during a turn.
 * Fence: the lock of the run's job, and that the run is running.
 */
const APPEND = new Script({
  keys: FENCE_KEYS,
  args: { ...FENCE_ARGS, seen: "number" },
  moreArgs: "entries",
  lua: `${FENCE}
    for _, entry in ipairs(entries) do redis.call('RPUSH', journal, entry) end
    if redis.call('TTL', journal) < 0 then redis.call('EXPIRE', journal, math.max(1, redis.call('TTL', run))) end
    return redis.call('LRANGE', journal, seen, -1)
  `,
});

/** Appends to the journal. Returns its entries from `seen` on, which are those appended and what came before them. */
export async function appendEntries(
  lock: RunLock,
  seen: number,
  entries: readonly RunJournalEntry[],
): Promise<RunJournalEntry[] | Denied> {
  const { store, runId } = lock;
  const args = await Promise.all(entries.map((entry) => entryText(store, runId, entry)));
  const keyed = { ...fenceArgs(lock), seen };
  const reply = await APPEND.run(lock.store.redis, fenceKeys(lock), keyed, { args }).catch(throwFault);
  return typeof reply === "string" ? (reply as Denied) : openEntries(store, runId, reply as string[]);
}

/**
 * Appends what happened outside to a run's journal and lets a suspended run go on at once. A run that a worker has, or
 * that waits for one, is only told. Without an entry the run only wakes; with fields it ends.
 * Keys: the run's record and journal, the runs' deadlines, ids of its signals and of those of earlier parts, the outbox; those of `WAKE` follow from the queue in the record. Arguments: the `entry` or nothing, the run's id, the channel, fields
 * and values that end the record. Returns: a `NotifyOutcome`. Called by `notifyRun`, by anybody.
 * Fence: none but that the run is running, since nothing of what happened outside may be lost.
 */
const TELL = new Script({
  keys: ["run", "journal", "deadlines", "signals", "earlierSignals", "outbox"],
  args: { entry: "text", dedupeId: "text", id: "text", channel: "text", prefix: "text", at: "number" },
  moreArgs: "fields",
  lua: `${NOTIFY}${WAKE_RUN}${LEAVE_LIMITS}${ENDED_LIFE}${ANNOUNCE}${ANNOUNCE_RUN}
    for _, key in ipairs({signals, earlierSignals}) do
      if dedupeId ~= '' and redis.call('SISMEMBER', key, dedupeId) == 1 then return 'noted' end
    end
    if redis.call('HGET', run, 'status') ~= 'running' then return 'over' end
    if dedupeId ~= '' then
      redis.call('SADD', signals, dedupeId)
      redis.call('EXPIRE', signals, math.max(1, redis.call('TTL', run)))
    end
    if entry ~= '' then
      redis.call('RPUSH', journal, entry)
      redis.call('EXPIRE', journal, math.max(1, redis.call('TTL', run)))
    end
    if #fields > 0 then
      redis.call('HSET', run, unpack(fields))
      redis.call('ZREM', deadlines, id)
      leaveLimits(id, at)
      local life = endedLife(${RUN_TTL_SECONDS})
      for _, key in ipairs({run, journal, signals}) do redis.call('EXPIRE', key, life) end
      announceRun(run, id)
      notify('result', id)
    end
    if wakeRun(id) then return 'woken' end
    notify('workflow', id)
    return 'noted'
  `,
});

/** `noted`: it did not sleep. `over`: it has ended, or never was. */
export type NotifyOutcome = "woken" | "noted" | "over";

/**
 * Tells a run what happened.
 * @param dedupeId of the entry: a second one with it changes nothing
 * @param end fields and values of the run's record that end it
 * @throws GlueError `corrupt_data`
 */
export async function notifyRun(
  store: Store,
  runId: string,
  entry?: RunJournalEntry,
  end: readonly string[] = [],
  dedupeId = "",
): Promise<NotifyOutcome> {
  const { redis, keys } = store;
  const journal = {
    run: keys.workflow(runId),
    journal: keys.workflowJournal(runId),
    deadlines: keys.workflowDeadlines,
    signals: keys.workflowSignals(runId),
    earlierSignals: keys.workflowEarlierSignals(runId),
    outbox: keys.outbox,
  };
  const outcome = await TELL.run(
    redis,
    journal,
    {
      entry: entry ? await entryText(store, runId, entry) : "",
      dedupeId,
      id: runId,
      channel: keys.channel,
      prefix: keys.prefix,
      at: clockOf(store).now(),
    },
    { args: await sealRunFields(store, runId, end) },
  ).catch(throwFault);
  return outcome as NotifyOutcome;
}

/** Entries that are read at a time, so that Redis serves others in between. */
const PAGE = 500;

/** Returns the entries from position `from` on; none when there is no such run. @throws GlueError `corrupt_data` */
export async function readRunJournal(store: Store, runId: string, from = 0): Promise<RunJournalEntry[]> {
  const entries: RunJournalEntry[] = [];
  for (;;) {
    const start = from + entries.length;
    const key = store.keys.workflowJournal(runId);
    const page = await store.redis.lrange(key, start, start + PAGE - 1).catch(throwFault);
    entries.push(...(await openEntries(store, runId, page)));
    if (page.length < PAGE) return entries;
  }
}

/** Returns the number of entries. @throws GlueError `corrupt_data` */
export function runJournalLength({ redis, keys }: Store, runId: string): Promise<number> {
  return redis.llen(keys.workflowJournal(runId)).catch(throwFault);
}

function throwFault(error: unknown): never {
  throw storedFault("what there is of a run", error);
}

function openEntries(store: Store, runId: string, texts: readonly string[]): Promise<RunJournalEntry[]> {
  return Promise.all(texts.map((text) => openEntry(store, runId, text)));
}
