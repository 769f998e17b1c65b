import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";

/*
 * The circuit breaker of a key (`entry:model`), one for the whole fleet: the hash `:breaker:<key>`, which is gone an
 * hour after its last change. Its clock is that of Redis.
 *
 * | state     | in the hash                                         | what changes it                                    |
 * |-----------|-----------------------------------------------------|----------------------------------------------------|
 * | closed    | no `openedAt`; `calls:<slot>`, `failures:<slot>`    | `reportCalls` opens it when too many calls failed,  |
 * |           |                                                     | or none succeeded for too long                     |
 * | open      | `openedAt`, `probeAt` (when the next probe may      | `admitCall` starts a probe from `probeAt` on: half |
 * |           | start); `failures` and `calls` of what opened it    | open; `endProbe` closes it on a late success       |
 * | half-open | the same and `probing`; `probeAt` is when another   | `endProbe` closes it on a success, else it is open |
 * |           | caller may take the probe                           | again; `admitCall` from `probeAt` on: a new probe  |
 *
 * In every state: the counters `opened` (how often it opened) and `probe` (the latest probe's number). While it is
 * closed: `windowMs`; `streak`, the different requests that failed in a row; `inRow`, all failures since the latest
 * success; `failingSince`, when the first of these came. While it is open: `doubtful`, when too few different requests
 * failed to tell an outage from requests that always fail.
 *
 * The evidence is that different requests fail. Another failure of the same request says nothing new: it counts in
 * neither rate nor streak, and shows only in that nothing has succeeded since.
 */

/** Slots of the rolling window. */
export const WINDOW_SLOTS = 10;
/** Under load the newest slots decide: the whole window would outweigh an outage for many seconds. */
const LATEST_CALLS = 50;
/** Too few calls in the window to speak of a rate: so many requests that fail in a row, however far apart, open it too. */
const STREAK_CALLS = 10;

/** Lua for all scripts of a breaker. Key: `breaker`. Arguments: `channel` and the breaker's `key`, to tell of a change. */
const STATE = `${NOTIFY}${NOW}
  local state, fields = {}, redis.call('HGETALL', breaker)
  for i = 1, #fields, 2 do state[fields[i]] = tonumber(fields[i + 1]) end
  local function set(name, value)
    state[name] = value
    redis.call('HSET', breaker, name, string.format('%.0f', value))
  end
  local function remove(name)
    state[name] = nil
    redis.call('HDEL', breaker, name)
  end
  local function expire(afterMs) redis.call('PEXPIRE', breaker, string.format('%.0f', 3600000 + afterMs)) end
  local function answer(hasChanged)
    return { hasChanged and 1 or 0, now, state.openedAt or 0, state.opened or 0, state.failures or 0,
      state.calls or 0, math.max(0, (state.probeAt or 0) - now), state.probe or 0, state.doubtful or 0 }
  end
`;
const SUBJECT = { channel: "text", key: "text" } as const;

/** The state after a script. */
export interface BreakerReply {
  /** This script changed the state; of `admitCall`: the caller has the probe. */
  hasChanged: boolean;
  /** Epoch milliseconds by the clock of Redis. */
  now: number;
  /** Epoch milliseconds; 0 while it is closed. */
  openedAt: number;
  /** How often it went from closed to open. */
  opened: number;
  /** Of the window that opened it last. */
  failures: number;
  calls: number;
  /** Milliseconds until the next probe may start; 0 while it is closed. */
  waitMs: number;
  /** The number of the latest probe. */
  probe: number;
  /** It opened though too few different requests failed to tell an outage from requests that always fail. */
  isDoubtful: boolean;
}

/**
 * Takes the probe of an open breaker when nobody has it.
 * Keys: the breaker. Arguments: `probeMs`, after which another caller may take it. Returns: see `BreakerReply`.
 * Called before a provider call, by workers that do not know the breaker closed. Fence: `probeAt`.
 */
const ADMIT = new Script({
  keys: ["breaker"],
  args: { ...SUBJECT, probeMs: "number" },
  lua: `${STATE}
    if not state.openedAt or now < state.probeAt then return answer(false) end
    set('probe', (state.probe or 0) + 1)
    set('probeAt', now + probeMs)
    set('probing', 1)
    expire(probeMs)
    return answer(true)
  `,
});

/** Asks for leave to call; `hasChanged` says that the call is the probe of an open breaker. */
export async function admitCall(store: Store, key: string, probeMs: number): Promise<BreakerReply> {
  return toReply(await ADMIT.run(store.redis, keysOf(store, key), { ...subjectOf(store, key), probeMs }));
}

/**
 * Counts ended calls of a closed breaker, and opens it when too many requests failed, or none succeeded for `quietMs`.
 * Keys: the breaker. Arguments: see `CallReport`. Returns: see `BreakerReply`.
 * Called by workers, at once for a failure, about once a second for successes. Fence: `opened`, the number of
 * openings that the caller knows of; calls from before a later one are not counted.
 */
const REPORT = new Script({
  keys: ["breaker"],
  args: {
    ...SUBJECT,
    failures: "number",
    repeats: "number",
    successes: "number",
    opened: "number?",
    windowMs: "number",
    minCalls: "number",
    failureRate: "number",
    cooldownMs: "number",
    quietMs: "number",
  },
  lua: `${STATE}
    local calls, failed = failures + successes, failures + repeats
    if state.openedAt or calls + repeats == 0 or (opened and opened < (state.opened or 0)) then
      return answer(false)
    end
    if successes > 0 then
      for _, name in ipairs({ 'inRow', 'failingSince' }) do remove(name) end
    end
    if failed > 0 then
      set('inRow', (state.inRow or 0) + failed)
      if not state.failingSince then set('failingSince', now) end
    end
    local slotMs = math.ceil(windowMs / ${WINDOW_SLOTS})
    local slot = string.format('%.0f', now - now % slotMs)
    set('windowMs', windowMs)
    if calls > 0 then
      set('calls:' .. slot, (state['calls:' .. slot] or 0) + calls)
      set('failures:' .. slot, (state['failures:' .. slot] or 0) + failures)
    end
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
    local isRateHigh = sums.calls >= minCalls and sums.failures / sums.calls >= failureRate
    local latest, latestFailures = 0, 0
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
    local isProven = isRateHigh or isStreak
    local isQuiet = failed > 0 and now - state.failingSince >= quietMs
    if not isProven and not isQuiet then return answer(false) end
    if isProven then
      remove('doubtful')
    else
      sums = { failures = state.inRow, calls = state.inRow }
      set('doubtful', 1)
    end
    for _, name in ipairs({ 'streak', 'inRow', 'failingSince' }) do remove(name) end
    for _, name in ipairs(inWindow) do remove(name) end
    set('opened', (state.opened or 0) + 1)
    set('openedAt', now)
    set('probeAt', now + cooldownMs)
    set('failures', sums.failures)
    set('calls', sums.calls)
    expire(cooldownMs)
    notify('breaker', key)
    return answer(true)
  `,
});

export interface CallReport {
  /** Requests that failed for the first time. */
  failures: number;
  /** Failures of requests that had failed before. */
  repeats: number;
  successes: number;
  /** Openings that the reporter knows of; undefined when it knows nothing yet. */
  opened: number | undefined;
  windowMs: number;
  minCalls: number;
  failureRate: number;
  cooldownMs: number;
  /** So long after the first of the failures in a row, any failure opens it. */
  quietMs: number;
}

/** Counts ended calls; `hasChanged` says that they opened the breaker. */
export async function reportCalls(store: Store, key: string, report: CallReport): Promise<BreakerReply> {
  return toReply(await REPORT.run(store.redis, keysOf(store, key), { ...subjectOf(store, key), ...report }));
}

/**
 * Ends a probe. A late success closes the breaker too, or calls slower than a probe's turn could never close it; after
 * a late failure the probe that follows decides.
 * Keys: the breaker. Arguments: see `ProbeEnd`. Returns: see `BreakerReply`.
 * Called by the worker that made the probe. Fence: `opened` and `probe`, the opening and the probe it was made for.
 */
const END_PROBE = new Script({
  keys: ["breaker"],
  args: { ...SUBJECT, outcome: "text", opened: "number?", probe: "number?", cooldownMs: "number" },
  lua: `${STATE}
    if not state.openedAt or (opened and opened ~= state.opened) then return answer(false) end
    if outcome == 'succeeded' then
      for _, name in ipairs({ 'openedAt', 'probeAt', 'probing', 'doubtful' }) do remove(name) end
      expire(0)
      notify('breaker', key)
      return answer(true)
    end
    if not state.probing or (probe and probe ~= state.probe) then return answer(false) end
    local waitMs = outcome == 'failed' and cooldownMs or 0
    set('probeAt', now + waitMs)
    remove('probing')
    expire(waitMs)
    return answer(true)
  `,
});

export interface ProbeEnd {
  /** `released`: the call was not made, or says nothing of the provider. */
  outcome: "succeeded" | "failed" | "released";
  opened: number | undefined;
  probe: number | undefined;
  /** Milliseconds until the next probe, after a failed one. */
  cooldownMs: number;
}

/** Ends a probe; `hasChanged` says that the breaker is closed by it, or open for the next probe. */
export async function endProbe(store: Store, key: string, end: ProbeEnd): Promise<BreakerReply> {
  return toReply(await END_PROBE.run(store.redis, keysOf(store, key), { ...subjectOf(store, key), ...end }));
}

function keysOf({ keys }: Store, key: string) {
  return { breaker: keys.breaker(key) };
}

function subjectOf({ keys }: Store, key: string) {
  return { channel: keys.channel, key };
}

function toReply(raw: unknown): BreakerReply {
  const [changed = 0, now = 0, openedAt = 0, opened = 0, failures = 0, calls = 0, waitMs = 0, ...rest] =
    raw as number[];
  const [probe = 0, doubtful = 0] = rest;
  const isDoubtful = doubtful === 1;
  return { hasChanged: changed === 1, now, openedAt, opened, failures, calls, waitMs, probe, isDoubtful };
}

export interface BreakerState {
  /** `half_open`: open, and a probe is under way. */
  state: "closed" | "open" | "half_open";
  /** Of the rolling window; while it is not closed, of the window that opened it. */
  failures: number;
  calls: number;
  /** Epoch milliseconds; only while it is not closed. */
  openedAt?: number;
  /** How often it went from closed to open; forgotten an hour after its last change. */
  opened: number;
}

/** Returns the breaker of `entry:model` for display, without changing it. A breaker that nobody used is closed. */
export async function readBreakerState(store: Store, key: string): Promise<BreakerState> {
  const [[seconds, microseconds], hash] = await Promise.all([
    store.redis.time(),
    store.redis.hgetall(store.keys.breaker(key)),
  ]);
  const now = Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
  const fields = new Map(Object.entries(hash).map(([name, value]) => [name, Number(value)]));
  const field = (name: string) => fields.get(name) ?? 0;
  const opened = field("opened");
  const openedAt = fields.get("openedAt");
  if (openedAt === undefined) return { state: "closed", ...rollingWindow(fields, now), opened };
  const isProbing = fields.has("probing") && field("probeAt") > now;
  const state = isProbing ? "half_open" : "open";
  return { state, failures: field("failures"), calls: field("calls"), openedAt, opened };
}

/** Sums the fields `calls:<slot>` and `failures:<slot>`; a slot is named by its first millisecond. */
function rollingWindow(fields: Map<string, number>, now: number): { failures: number; calls: number } {
  const sums = { failures: 0, calls: 0 };
  const since = now - (fields.get("windowMs") ?? 0);
  for (const [name, count] of fields) {
    const [kind, slot] = name.split(":");
    if (slot === undefined || Number(slot) <= since) continue;
    if (kind === "calls" || kind === "failures") sums[kind] += count;
  }
  return sums;
}
