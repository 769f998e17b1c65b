import { WORKFLOW_QUEUE } from "../shared/catalog.ts";
import { WAKE, WAKE_LOCALS } from "./bullmq-sleep.ts";

/**
 * Lua: `wakeRun(id)` has a run that sleeps taken by a worker, and returns false when it does not sleep;
 * `tellRun(id, entry)` appends an entry to its journal, which has to be there, and wakes it or tells the worker that has it. They need
 * a local `prefix`, that of the namespace's keys, and `NOTIFY`.
 */
export const WAKE_RUN = `
  local function wakeRun(id)
    local queue = redis.call('HGET', prefix .. ':workflow:' .. id, 'queue') or '${WORKFLOW_QUEUE}'
    ${WAKE_LOCALS}${WAKE}
    return wakeJob(id)
  end
  local function tellRun(id, entry)
    local run = prefix .. ':workflow:' .. id
    redis.call('RPUSH', run .. ':journal', entry)
    redis.call('EXPIRE', run .. ':journal', math.max(1, redis.call('TTL', run)))
    if wakeRun(id) then return 'woken' end
    notify('workflow', id)
    return 'noted'
  end
`;
