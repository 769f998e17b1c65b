import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { type AlertFigures, OUTBOX_VERSION } from "./outbox-event.ts";
import { clockOf } from "./redis-clock.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The outbox: what has become final, for those who are not on the path of the work. Every script that makes something final
 * calls `announce`, so that an event is written if and only if its end is.
 *
 * `:outbox` is a hash of who reads: without it nothing is written, and a script pays one look.
 *
 * | field               | value                                                        | set by                                  |
 * |---------------------|--------------------------------------------------------------|-----------------------------------------|
 * | `history`           | until when it is written; epoch milliseconds                 | `keepHistory`, again and again          |
 * | `historyEntries`    | the most entries that wait                                   | the same                                |
 * | `webhooks:<tenant>` | what its subscriptions ask for, as `|job.*|batch.completed|` | with the subscriptions (`webhook.ts`)   |
 *
 * `:outbox:history` and `:outbox:webhooks` are streams of entries (outbox-event.ts). The first one drops its oldest entries
 * over its limit; the second one loses nothing but what was acknowledged. Delivery is at least once.
 */

/**
 * Lua: `announce(kind, id, tenant, state, figures, word, detail)` writes an event. `tenant`: nil or '' for the default one; `figures`: JSON,
 * or a function that returns it, which is called only where somebody reads; `word`: of the event's type, where it is not the state;
 * `detail`: JSON for the history alone, nil or '' for none.
 * It needs a local `outbox`, which is `keys.outbox`, and comes after a script's first write: what it writes itself may fail, and
 * keeps no end from being written.
 */
export const ANNOUNCE = `
  local announced = 0
  local function announce(kind, id, tenant, state, figures, word, detail)
    if not tenant or tenant == '' then tenant = '${DEFAULT_TENANT}' end
    local readers = redis.pcall('HMGET', outbox, 'history', 'historyEntries', 'webhooks:' .. tenant)
    if readers.err or not (readers[1] or readers[3]) then return end
    local name = kind .. '.' .. (word or (state == 'succeeded' and 'completed') or state)
    if type(figures) == 'function' then figures = figures() end
    local time = redis.call('TIME')
    local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    -- Two events of one object in the same script would have the same time.
    local version = string.format('%.0f', time[1] * 1000000 + time[2] + announced)
    announced = announced + 1
    local entry = {
      '*', 'v', '${OUTBOX_VERSION}', 'version', version, 'kind', kind, 'id', id, 'tenant', tenant, 'state', state,
      'type', name, 'endedAt', at, 'figures', figures,
    }
    local function isAsked(pattern) return string.find(readers[3] or '', '|' .. pattern .. '|', 1, true) end
    if isAsked(name) or isAsked(kind .. '.*') or isAsked('*') then
      redis.pcall('XADD', outbox .. ':webhooks', unpack(entry))
    end
    if (tonumber(readers[1] or '') or 0) > tonumber(at) then
      local limit = tonumber(readers[2] or '') or 10000
      if detail and detail ~= '' then
        entry[#entry + 1] = 'detail'
        entry[#entry + 1] = detail
      end
      redis.pcall('XADD', outbox .. ':history', 'MAXLEN', '~', limit, unpack(entry))
    end
  end
  -- Returns some fields of a hash as JSON: {name in the event = name in the hash}.
  local function figuresOf(key, names, more)
    local figures = more or {}
    for name, field in pairs(names) do figures[name] = redis.call('HGET', key, field) or nil end
    return cjson.encode(figures)
  end
`;

/**
 * Lua: `announceRun(run, id, word)` writes what the record of a run says after its change, under the type `run.<word>`, or that of
 * its status. It needs `ANNOUNCE`.
 */
export const ANNOUNCE_RUN = `
  local function announceRun(run, id, word)
    if redis.call('EXISTS', outbox) == 0 then return end
    local found = redis.call('HMGET', run, 'tenant', 'status', 'error')
    local isRead, fault = pcall(cjson.decode, found[3] or '')
    if not isRead or type(fault) ~= 'table' then fault = {} end
    announce('run', id, found[1], found[2], function()
      return figuresOf(run, {
        workflow = 'workflow', codeVersion = 'version', queue = 'queue', by = 'by', createdAt = 'createdAt',
        startedAt = 'begunAt', promptTokens = 'promptTokens', outputTokens = 'completionTokens', costUsd = 'costUsd',
        unpriced = 'unpriced', retries = 'retries', continued = 'continued', parentRunId = 'parentRunId',
        parentStep = 'parentStep',
      }, { errorCode = fault.code })
    end, word, cjson.encode({ errorMessage = fault.message, errorCategory = fault.category }))
  end
`;

/**
 * Lua: `announceBatch(counts, record, id, state)` writes that a batch has come to a state; `counts` is the hash `:batch:<id>`, and
 * `record` that of a batch of the API, else the same. It needs `ANNOUNCE`.
 */
export const ANNOUNCE_BATCH = `
  local function announceBatch(counts, record, id, state)
    if redis.call('EXISTS', outbox) == 0 then return end
    announce('batch', id, redis.call('HGET', record, 'tenant'), state, function()
      local own = redis.call('HMGET', record, 'by', 'endpoint', 'createdAt')
      return figuresOf(counts, {
        total = 'total', succeeded = 'succeeded', failed = 'failed', promptTokens = 'promptTokens',
        cachedTokens = 'cachedTokens', outputTokens = 'completionTokens', costUsd = 'costUsd', unpriced = 'unpriced',
        cacheHits = 'cacheHits', retries = 'retries', rateLimited = 'rateLimited',
      }, { by = own[1] or nil, endpoint = own[2] or nil, createdAt = own[3] or nil })
    end)
  end
`;

/**
 * Writes an event that is no script's own end. Keys: the outbox. Arguments: see `ANNOUNCE`. Returns nothing. Called by
 * `announceAlert` and `announceJob`. Fence: none.
 */
const TELL = new Script({
  keys: ["outbox"],
  args: { kind: "text", id: "text", tenant: "text", state: "text", figures: "text" },
  lua: `${ANNOUNCE} announce(kind, id, tenant, state, figures)`,
});

/** A fault of the fleet that somebody should see, or that is over. */
export interface Alert extends AlertFigures {
  /** The same as long as it is the same alert: its name and labels. */
  id: string;
  state: "firing" | "resolved";
  /** Whose subscriptions get it; absent: those of `default`, the operator's. */
  tenant?: string;
}

/** Writes `alert.firing` or `alert.resolved` to the outbox. Call it when an alert's state changes, not while it lasts. */
export async function announceAlert(
  { redis, keys }: Store,
  { id, state, tenant = "", ...figures }: Alert,
): Promise<void> {
  const args = { kind: "alert", id, tenant, state, figures: JSON.stringify(figures) };
  await TELL.run(redis, { outbox: keys.outbox }, args);
}

/** Returns whether somebody has subscribed to alerts. */
export async function asksForAlerts({ redis, keys }: Store): Promise<boolean> {
  const asked = await redis.hget(keys.outbox, `webhooks:${DEFAULT_TENANT}`);
  return /\|(\*|alert\.[^|]+)\|/.test(asked ?? "");
}

/** Writes the end of a job that has no record: nobody could read what it was to do. */
export async function announceJob(
  { redis, keys }: Store,
  { id, ...figures }: { id: string; queue: string; errorCode: string; attempts: number },
): Promise<void> {
  const args = { kind: "job", id, tenant: "", state: "failed", figures: JSON.stringify(figures) };
  await TELL.run(redis, { outbox: keys.outbox }, args);
}

/**
 * Has ends written to `:outbox:history` for `forMs` from now on: its consumer says so again and again, so that nothing is
 * written where nobody reads. `maxEntries`: the most that wait for it (about); older ones are dropped.
 */
export async function keepHistory(
  store: Store,
  { forMs, maxEntries }: { forMs: number; maxEntries: number },
): Promise<void> {
  const until = Math.round((await clockOf(store).fresh()) + forMs);
  await store.redis.hset(store.keys.outbox, "history", until, "historyEntries", maxEntries);
}

/** Ends the writing to `:outbox:history` at once; what waits there stays. */
export async function endHistory({ redis, keys }: Store): Promise<void> {
  await redis.hdel(keys.outbox, "history", "historyEntries");
}
