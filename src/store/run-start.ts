import { WORKFLOW_QUEUE } from "../shared/catalog.ts";
import { RUN_TTL_SECONDS } from "../shared/retention.ts";
import { entryText, sealRunFields } from "./run-fields.ts";
import type { RunJournalEntry } from "./run-journal.ts";
import {
  LEAVE_LIMITS,
  START_LIMIT_ARGS,
  START_LIMITS,
  type StartLimits,
  startLimitArgs,
} from "./run-limits.ts";
import { isBounded } from "./run-record.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { WAKE_RUN } from "./wake-run.ts";

/* The first transition of a run's record (see `run-record.ts`): from none to `running`. */

/**
 * Writes the record of a new run, unless its limits let its start stand for another run. The first one under an id stays; who comes later
 * learns what it is. Keys: the record, the journal, the index of runs, that of their deadlines. Arguments: the run's id, the time `at` of its
 * start, its deadline or nothing, the record's `ttlSeconds`, `fieldCount`, the `prefix`, its limits (`START_LIMIT_ARGS`), then so many fields and values, then journal entries.
 * Returns: {id, digest, status, queue, startAt, debounce} of the record that stands, and `joined`, `debounced` or nothing. Called by `beginRun`, for a caller or for the worker of a parent run. Fence: the id.
 */
const START = new Script({
  keys: ["run", "journal", "runs", "deadlines"],
  args: {
    ...{ id: "text", at: "number", deadlineAt: "number?", ttlSeconds: "number", fieldCount: "number" },
    prefix: "text",
    ...START_LIMIT_ARGS,
  },
  moreArgs: "fieldsAndEntries",
  lua: `${WAKE_RUN}${LEAVE_LIMITS}${START_LIMITS}
    local function standing(id, outcome)
      local reply = redis.call('HMGET', runKey(id), 'digest', 'status', 'queue', 'startAt', 'debounce')
      return {id, outcome, unpack(reply, 1, 5)}
    end
    local other, outcome = standIn(id)
    if outcome == 'joined' then return standing(other, outcome) end
    if outcome == 'debounced' then
      redis.call('HDEL', runKey(other), 'inputTyped')
      for i = 1, fieldCount, 2 do
        local field = fieldsAndEntries[i]
        if field == 'input' or field == 'inputTyped' or field == 'digest' or field == 'deadlineAt' then
          redis.call('HSET', runKey(other), field, fieldsAndEntries[i + 1])
        end
      end
      redis.call('HSET', runKey(other), 'startAt', at + debounceMs)
      redis.call('EXPIRE', runKey(other), ttlSeconds)
      redis.call('ZREM', deadlines, other)
      if deadlineAt then redis.call('ZADD', deadlines, deadlineAt, other) end
      return standing(other, outcome)
    end
    if redis.call('EXISTS', run) == 0 then
      redis.call('HSET', run, unpack(fieldsAndEntries, 1, fieldCount))
      local startAt = beginsAt(id, at)
      if startAt then redis.call('HSET', run, 'startAt', startAt) end
      if singleton ~= '' then redis.call('HSET', run, 'singleton', singleton) end
      if debounce ~= '' then redis.call('HSET', run, 'debounce', debounce) end
      redis.call('EXPIRE', run, ttlSeconds)
      for i = fieldCount + 1, #fieldsAndEntries do redis.call('RPUSH', journal, fieldsAndEntries[i]) end
      redis.call('ZADD', runs, at, id)
      if deadlineAt then redis.call('ZADD', deadlines, deadlineAt, id) end
    end
    return standing(id, '')
  `,
});

/** A run's record as it begins. */
export interface NewRun {
  id: string;
  workflow: string;
  createdAt: number;
  deadlineAt: number;
  [field: string]: string | number;
}

/** The run that stands after a start. */
export interface StandingRun {
  id: string;
  /** `joined`: the one that goes on, of which there is one at a time. `debounced`: the one that begins later, with the new input. */
  outcome: "joined" | "debounced" | "";
  digest: string;
  status: string;
  queue: string;
  /** No worker begins with it before, in epoch milliseconds. */
  startAt: number | undefined;
  /** Its input was the last one of several. */
  isDebounced: boolean;
}

/**
 * Writes the record of a run, unless there is one under its id, or another one stands for it.
 * @param entries journal entries that a fork begins with
 */
export async function beginRun(
  store: Store,
  run: NewRun,
  entries: readonly RunJournalEntry[],
  limits: StartLimits = {},
): Promise<StandingRun> {
  const { id, createdAt: at, deadlineAt } = run;
  const { redis, keys } = store;
  const fields = await sealRunFields(store, id, Object.entries(run).flat(), run.workflow);
  const begun = await Promise.all(entries.map((entry) => entryText(store, id, entry)));
  const ttlSeconds = RUN_TTL_SECONDS + Math.ceil(Math.max(0, deadlineAt - at) / 1000);
  const [standing, outcome, digest, status, queue, startAt, debounce] = (await START.run(
    redis,
    {
      run: keys.workflow(id),
      journal: keys.workflowJournal(id),
      runs: keys.workflowRuns,
      deadlines: keys.workflowDeadlines,
    },
    {
      ...{
        id,
        at,
        deadlineAt: isBounded(run) ? deadlineAt : undefined,
        ttlSeconds,
        fieldCount: fields.length,
      },
      ...{ prefix: keys.prefix, ...startLimitArgs(limits) },
    },
    { args: [...fields, ...begun] },
  )) as (string | null)[];
  return {
    id: standing ?? id,
    outcome: outcome as StandingRun["outcome"],
    digest: digest ?? "",
    status: status ?? "",
    queue: queue ?? WORKFLOW_QUEUE,
    startAt: startAt ? Number(startAt) : undefined,
    isDebounced: typeof debounce === "string",
  };
}
