import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The ledger of a cost limit: `maxCostUsd`, `spentUsd` and `reservedUsd` in a hash, which may be the record of what has
 * the limit (a batch, a conversation) or one of its own (a job, `:cost:<jobId>`). Beside it, `<ledger>:reserved` is a
 * hash of what is held for each job's call: `<usd>|<epoch ms>|<call id>`, the time being when the call must be over.
 *
 * | a job's call | in `…:reserved`  | what changes it                                                         |
 * |--------------|------------------|-------------------------------------------------------------------------|
 * | none         | no field         | `reserveCost` holds an amount, unless that could pass the limit         |
 * | held         | the job's field  | `settleCost` counts what it cost as spent; `reserveCost` of the job's   |
 * |              |                  | next attempt, or of another job once the call must be over, counts all  |
 * |              |                  | that was held as spent, since the call of a lost worker may be paid     |
 *
 * Calls have ids, so that a command that is sent again with a lost connection books nothing twice.
 */

/** Lua for both scripts. Keys: `ledger`, `calls`. Arguments: `job`, `call`. */
const LEDGER = `
  local function amount(field) return tonumber(redis.call('HGET', ledger, field) or '') or 0 end
  local function text(usd) return string.format('%.12f', math.max(0, usd)) end
  local spent, reserved = amount('spentUsd'), amount('reservedUsd')
  local function save() redis.call('HSET', ledger, 'spentUsd', text(spent), 'reservedUsd', text(reserved)) end
  local function heldFor(job)
    return string.match(redis.call('HGET', calls, job) or '', '^([^|]+)|([^|]+)|(.+)$')
  end
  local function settle(job, held, usd)
    redis.call('HDEL', calls, job)
    spent, reserved = spent + usd, reserved - held
  end
`;
const CALL = { job: "text", call: "text" } as const;

const DAY_MS = 86_400_000;
/** Of what is held, where the ledger has no end. */
const KEEP_SECONDS = 30 * 86_400;

/** A call that counts towards a limit. */
export interface LedgerCall {
  /** Redis key of the hash. */
  ledger: string;
  jobId: string;
  /** Of this call alone. */
  callId: string;
}

export type ReserveOutcome =
  | { kind: "reserved" }
  /** It fits only once calls under way turn out cheaper than what is held for them. */
  | { kind: "wait" }
  /** With it more than the limit could be spent. */
  | { kind: "over"; spentUsd: number; maxCostUsd: number };

/**
 * Holds an amount for a call when the limit allows it. A sum of results in the same hash (`costUsd`) is what was spent
 * at the least, also where the ledger knows of none of it.
 * Keys: the ledger, its calls. Arguments: `job`, `call`, the `amountUsd` with 12 decimals, `lifeMs` after which the call
 * must be over, `keepSeconds` for the calls of a ledger without expiry. Returns: {'reserved' | 'wait' | 'over', spent,
 * limit}, in USD. Called before a provider call. Fence: the call's id.
 */
const RESERVE = new Script({
  keys: ["ledger", "calls"],
  args: { ...CALL, amountUsd: "text", lifeMs: "number", keepSeconds: "number" },
  lua: `${LEDGER}${NOW}
    local usd = tonumber(amountUsd)
    local max = tonumber(redis.call('HGET', ledger, 'maxCostUsd') or '')
    if not max then return {'reserved', '0', '0'} end
    local held, _, known = heldFor(job)
    if known == call then return {'reserved', '0', '0'} end
    spent = math.max(spent, amount('costUsd'))
    if held then settle(job, held, held) end
    local most = max + 1e-9
    if spent + reserved + usd > most then
      for _, other in ipairs(redis.call('HKEYS', calls)) do
        local lost, endsAt = heldFor(other)
        if tonumber(endsAt) < now then settle(other, lost, lost) end
      end
    end
    if redis.call('HLEN', calls) == 0 then reserved = 0 end
    local outcome = 'reserved'
    if spent + usd > most then
      outcome = 'over'
    elseif spent + reserved + usd > most then
      outcome = 'wait'
    else
      redis.call('HSET', calls, job, amountUsd .. '|' .. string.format('%.0f', now + lifeMs) .. '|' .. call)
      local ttl = redis.call('PTTL', ledger)
      redis.call('PEXPIRE', calls, ttl > 0 and ttl or keepSeconds * 1000)
      reserved = reserved + usd
    end
    save()
    return {outcome, text(spent), text(max)}
  `,
});

/**
 * Holds `usd` for a call, before it is made; always granted where the ledger has no limit.
 * @param lifeMs longer than the call can take
 */
export async function reserveCost(
  store: Store,
  call: LedgerCall,
  usd: number,
  lifeMs: number,
): Promise<ReserveOutcome> {
  const args = { amountUsd: usd.toFixed(12), lifeMs, keepSeconds: KEEP_SECONDS };
  const reply = await RESERVE.run(store.redis, keysOf(store, call), { ...callOf(call), ...args });
  const [kind, spent, max] = reply as [ReserveOutcome["kind"], string, string];
  return kind === "over" ? { kind, spentUsd: Number(spent), maxCostUsd: Number(max) } : { kind };
}

/**
 * Ends the hold of a call. Keys: the ledger, its calls. Arguments: `job`, `call`, the `paidUsd`. Returns: nothing.
 * Called after a provider call, or when none was made. Fence: the call's id; a hold that is not the call's stays.
 */
const SETTLE = new Script({
  keys: ["ledger", "calls"],
  args: { ...CALL, paidUsd: "number" },
  lua: `${LEDGER}
    local held, _, known = heldFor(job)
    if known == call then
      settle(job, held, paidUsd)
      save()
    end
  `,
});

/** Counts `usd` of an ended call as spent, 0 when it was not made. What was held for it is free again. */
export async function settleCost(store: Store, call: LedgerCall, usd: number): Promise<void> {
  await SETTLE.run(store.redis, keysOf(store, call), { ...callOf(call), paidUsd: usd });
}

/** Opens the ledger of one job and returns its key. It lasts a day longer than the job can. Opened again, its limit and sums stand. */
export async function openJobLedger(
  store: Store,
  jobId: string,
  { maxCostUsd, deadlineAt }: { maxCostUsd: number; deadlineAt: number },
): Promise<string> {
  const ledger = store.keys.jobCost(jobId);
  await store.redis
    .multi()
    .hsetnx(ledger, "maxCostUsd", String(maxCostUsd))
    .pexpireat(ledger, deadlineAt + DAY_MS)
    .exec();
  return ledger;
}

function keysOf({ keys }: Store, { ledger }: LedgerCall) {
  return { ledger, calls: keys.reserved(ledger) };
}

function callOf({ jobId, callId }: LedgerCall) {
  return { job: jobId, call: callId };
}
