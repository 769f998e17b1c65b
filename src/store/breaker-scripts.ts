import { RedisScript } from "./redis-script.ts";

export const WINDOW_SLOTS = 10;
/** Under load the newest slots decide: the whole window would outweigh an outage for many seconds. */
const LATEST_CALLS = 50;
/** Too few calls in the window to speak of a rate: so many failures in a row, however far apart, open it too. */
const STREAK_CALLS = 10;

/**
 * The hash: the counters `opened` and `probe`; `windowMs`; while closed `calls:<slot>` and `failures:<slot>`;
 * `streak`, the failures in a row; since the first opening `failures` and `calls` of the latest; while open `openedAt`, `probeAt` (when the
 * next probe may start) and, during a probe, `probing`. It is gone an hour after its last change.
 *
 * ARGV of every script: 1 channel, 2 message. `answer` says what `BreakerReply` says.
 */
const STATE = `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local state, fields = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do state[fields[i]] = tonumber(fields[i + 1]) end
  local function set(name, value)
    state[name] = value
    redis.call('HSET', KEYS[1], name, string.format('%.0f', value))
  end
  local function remove(name)
    state[name] = nil
    redis.call('HDEL', KEYS[1], name)
  end
  local function expire(afterMs) redis.call('PEXPIRE', KEYS[1], string.format('%.0f', 3600000 + afterMs)) end
  local function announce() redis.call('PUBLISH', ARGV[1], ARGV[2]) end
  local function answer(hasChanged)
    return { hasChanged and 1 or 0, now, state.openedAt or 0, state.opened or 0, state.failures or 0,
      state.calls or 0, math.max(0, (state.probeAt or 0) - now), state.probe or 0 }
  end
`;

/** The state after a script. */
export interface BreakerReply {
  /** This script changed the state; of `admit`: the caller has the probe. */
  hasChanged: boolean;
  /** Epoch milliseconds by the clock of Redis. */
  now: number;
  /** Epoch milliseconds; 0 while it is closed. */
  openedAt: number;
  opened: number;
  /** Of the window that opened it last. */
  failures: number;
  calls: number;
  /** Until the next probe may start; 0 while it is closed. */
  waitMs: number;
  /** The number of the latest probe. */
  probe: number;
}

export function parseBreakerReply(raw: unknown): BreakerReply {
  const [changed = 0, now = 0, openedAt = 0, opened = 0, failures = 0, calls = 0, waitMs = 0, probe = 0] =
    raw as number[];
  return { hasChanged: changed === 1, now, openedAt, opened, failures, calls, waitMs, probe };
}

/** The state machine of a circuit breaker; workers run it, with the clock of Redis. */
export const breakerScripts = {
  /** ARGV: 3 probeMs. */
  admit: new RedisScript(`${STATE}
    if not state.openedAt or now < state.probeAt then return answer(false) end
    set('probe', (state.probe or 0) + 1)
    set('probeAt', now + tonumber(ARGV[3]))
    set('probing', 1)
    expire(tonumber(ARGV[3]))
    return answer(true)
  `),

  /** ARGV: 3 failures, 4 successes, 5 opened or '', 6 windowMs, 7 minCalls, 8 failureRate, 9 cooldownMs. */
  report: new RedisScript(`${STATE}
    local failures, opened = tonumber(ARGV[3]), tonumber(ARGV[5])
    local calls = failures + tonumber(ARGV[4])
    if state.openedAt or calls == 0 or (opened and opened < (state.opened or 0)) then return answer(false) end
    local windowMs = tonumber(ARGV[6])
    local slot = string.format('%.0f', now - now % math.ceil(windowMs / ${WINDOW_SLOTS}))
    set('windowMs', windowMs)
    set('calls:' .. slot, (state['calls:' .. slot] or 0) + calls)
    set('failures:' .. slot, (state['failures:' .. slot] or 0) + failures)
    set('streak', failures == calls and (state.streak or 0) + failures or failures)
    expire(windowMs)
    local sums, inWindow, past = { calls = 0, failures = 0 }, {}, {}
    for name, count in pairs(state) do
      local kind, start = string.match(name, '^(%l+):(%d+)$')
      if kind and tonumber(start) > now - windowMs then
        sums[kind] = sums[kind] + count
        table.insert(inWindow, name)
      elseif kind then
        table.insert(past, name)
      end
    end
    for _, name in ipairs(past) do remove(name) end
    local minCalls, failureRate = tonumber(ARGV[7]), tonumber(ARGV[8])
    local isRateHigh = sums.calls >= minCalls and sums.failures / sums.calls >= failureRate
    local slotMs, latest, latestFailures = math.ceil(windowMs / ${WINDOW_SLOTS}), 0, 0
    for start = tonumber(slot), now - windowMs, -slotMs do
      if latest >= ${LATEST_CALLS} then break end
      local name = string.format('%.0f', start)
      latest = latest + (state['calls:' .. name] or 0)
      latestFailures = latestFailures + (state['failures:' .. name] or 0)
    end
    if latest >= ${LATEST_CALLS} and latestFailures / latest >= failureRate then
      sums, isRateHigh = { calls = latest, failures = latestFailures }, true
    end
    local isStreak = sums.calls < minCalls and state.streak >= ${STREAK_CALLS}
    if not isRateHigh and not isStreak then return answer(false) end
    remove('streak')
    for _, name in ipairs(inWindow) do remove(name) end
    set('opened', (state.opened or 0) + 1)
    set('openedAt', now)
    set('probeAt', now + tonumber(ARGV[9]))
    set('failures', sums.failures)
    set('calls', sums.calls)
    expire(tonumber(ARGV[9]))
    announce()
    return answer(true)
  `),

  /**
   * ARGV: 3 outcome, 4 opened or '', 5 probe or '', 6 cooldownMs. A late success closes too, or calls slower
   * than a probe's turn could never close it; after a late failure the probe that follows decides.
   */
  endProbe: new RedisScript(`${STATE}
    local opened, probe = tonumber(ARGV[4]), tonumber(ARGV[5])
    if not state.openedAt or (opened and opened ~= state.opened) then return answer(false) end
    if ARGV[3] == 'succeeded' then
      for _, name in ipairs({ 'openedAt', 'probeAt', 'probing' }) do remove(name) end
      expire(0)
      announce()
      return answer(true)
    end
    if not state.probing or (probe and probe ~= state.probe) then return answer(false) end
    local waitMs = ARGV[3] == 'failed' and tonumber(ARGV[6]) or 0
    set('probeAt', now + waitMs)
    remove('probing')
    expire(waitMs)
    return answer(true)
  `),
};
