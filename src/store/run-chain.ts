import { RUN_TTL_SECONDS } from "../shared/retention.ts";
import { childrenKey } from "./bullmq-internals.ts";
import { ANNOUNCE, ANNOUNCE_RUN } from "./outbox.ts";
import { entryText, sealRunFields } from "./run-fields.ts";
import type { RunJournalEntry } from "./run-journal.ts";
import {
  type Denied,
  FENCE,
  FENCE_ARGS,
  FENCE_KEYS,
  fenceArgs,
  fenceKeys,
  type RunLock,
} from "./run-turn.ts";
import { Script } from "./script.ts";

/*
 * A run that goes on as new: its record gets another input, and its journal begins anew with what nobody has read yet. See
 * `run-record.ts`.
 */

/** After so many ids of signals a part's end begins a new set of them, beside the one before. */
const MAX_SIGNAL_IDS = 5000;

/**
 * Begins the next part of a run. What came in since the worker looked is kept where it is for the next part too: signals and
 * updates, not the ends of steps.
 * Keys: see `FENCE`; the ids of its signals, and those of earlier parts; the job's children; the outbox. Arguments: those of `FENCE`; the entries that
 * the function has `seen`; the life of the record in seconds; `fieldCount`, then so many
 * fields and values of the record, then entries to begin with. Returns: 'continued' or a `Denied`. Called by `continueRun`. Fence:
 * the lock of the run's job, and that the run is running.
 */
const CONTINUE = new Script({
  keys: [...FENCE_KEYS, "signals", "earlierSignals", "children", "outbox"],
  args: { ...FENCE_ARGS, seen: "number", ttlSeconds: "number", fieldCount: "number" },
  moreArgs: "fieldsAndEntries",
  lua: `${FENCE}${ANNOUNCE}${ANNOUNCE_RUN}
    local kept = {}
    -- Nothing is written before all of it can be read.
    for _, entry in ipairs(redis.call('LRANGE', journal, seen, -1)) do
      local kind = cjson.decode(entry).type
      if kind == 'signal' or kind == 'update' then kept[#kept + 1] = entry end
    end
    redis.call('DEL', journal)
    for i = fieldCount + 1, #fieldsAndEntries do redis.call('RPUSH', journal, fieldsAndEntries[i]) end
    for _, entry in ipairs(kept) do redis.call('RPUSH', journal, entry) end
    redis.call('HDEL', run, 'inputTyped', 'forks', 'metadata', 'waits', 'activities', 'local', 'blocked')
    redis.call('HSET', run, unpack(fieldsAndEntries, 1, fieldCount))
    redis.call('HINCRBY', run, 'continued', 1)
    if redis.call('SCARD', signals) >= ${MAX_SIGNAL_IDS} then
      redis.call('RENAME', signals, earlierSignals)
      redis.call('EXPIRE', earlierSignals, ${RUN_TTL_SECONDS})
    end
    for _, key in ipairs({run, journal, signals}) do redis.call('EXPIRE', key, ttlSeconds) end
    redis.call('DEL', children)
    announceRun(run, id, 'continued')
    return 'continued'
  `,
});

/** Begins the next part of the run whose function has ended the present one. */
export async function continueRun(
  lock: RunLock,
  part: {
    seen: number;
    /** In epoch milliseconds. */
    deadlineAt: number;
    now: number;
    /** Whose run it is. */
    workflow: string;
    /** Fields of the record. */
    fields: Readonly<Record<string, string | number>>;
    /** What nobody has read of the part before. */
    unread: readonly RunJournalEntry[];
  },
): Promise<"continued" | Denied> {
  const { store, queue, runId } = lock;
  const { seen, deadlineAt, now, unread } = part;
  const given = Object.entries({ ...part.fields, deadlineAt }).flat();
  const fields = await sealRunFields(store, runId, given, part.workflow);
  const kept = await Promise.all(unread.map((entry) => entryText(store, runId, entry)));
  const outcome = await CONTINUE.run(
    store.redis,
    {
      ...fenceKeys(lock),
      signals: store.keys.workflowSignals(runId),
      earlierSignals: store.keys.workflowEarlierSignals(runId),
      children: childrenKey(store, queue, runId),
      outbox: store.keys.outbox,
    },
    {
      ...fenceArgs(lock),
      seen,
      ttlSeconds: RUN_TTL_SECONDS + Math.ceil(Math.max(0, deadlineAt - now) / 1000),
      fieldCount: fields.length,
    },
    { args: [...fields, ...kept] },
  );
  return outcome as "continued" | Denied;
}
