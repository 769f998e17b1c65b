/*
 * What our scripts ask of BullMQ's keys of a job, as Lua fragments: its hash and its lock. They write nothing there.
 */

/**
 * Lua: `holdOf(job, lock, token)` returns `held`, `fenced` when another worker has the job's lock, or `gone` when BullMQ
 * no longer has the job. A lock that merely ran out still counts as held: the work is paid for, and nobody else has
 * begun.
 */
export const HOLD_OF = `
  local function holdOf(job, lock, token)
    if redis.call('EXISTS', job) == 0 then return 'gone' end
    local holder = redis.call('GET', lock)
    return holder and holder ~= token and 'fenced' or 'held'
  end
`;

/** Lua: `isUnfinished(job)` is true while BullMQ has the job and will run it, or runs it. */
export const IS_UNFINISHED = `
  local function isUnfinished(job)
    return redis.call('EXISTS', job) == 1 and redis.call('HEXISTS', job, 'finishedOn') == 0
  end
`;
