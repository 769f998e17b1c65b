import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

/*
 * The ledger of a cost limit: `maxCostUsd`, `spentUsd` and `reservedUsd` in a hash, which may be the record of what has
 * the limit (a batch, a conversation), and beside it a hash of what is held for each job's call. Calls have ids, so that
 * a command that is sent again with a lost connection books nothing twice. What a lost worker held counts as spent,
 * since its call may have been paid: from the job's next attempt on, or from when the call must be over.
 */
const LEDGER = `
  local ledger, calls, job, call = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
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

/** A sum of results in the same hash is what was spent at the least, also where the ledger knows of none of it. */
const RESERVE = new RedisScript(`${LEDGER}
  local usd, lifeMs, keepSeconds = tonumber(ARGV[3]), ARGV[4], ARGV[5]
  local max = tonumber(redis.call('HGET', ledger, 'maxCostUsd') or '')
  if not max then return {'reserved', '0', '0'} end
  local held, _, known = heldFor(job)
  if known == call then return {'reserved', '0', '0'} end
  spent = math.max(spent, amount('costUsd'))
  if held then settle(job, held, held) end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
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
    redis.call('HSET', calls, job, ARGV[3] .. '|' .. string.format('%.0f', now + lifeMs) .. '|' .. call)
    local ttl = redis.call('PTTL', ledger)
    redis.call('PEXPIRE', calls, ttl > 0 and ttl or keepSeconds * 1000)
    reserved = reserved + usd
  end
  save()
  return {outcome, text(spent), text(max)}
`);

const SETTLE = new RedisScript(`${LEDGER}
  local held, _, known = heldFor(job)
  if known == call then
    settle(job, held, tonumber(ARGV[3]))
    save()
  end
`);

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
 * Holds `usd` for a call, before it is made; always granted where the ledger has no limit.
 * @param lifeMs longer than the call can take
 */
export async function reserveCost(
  store: Store,
  call: LedgerCall,
  usd: number,
  lifeMs: number,
): Promise<ReserveOutcome> {
  const reply = await run(RESERVE, store, call, [usd.toFixed(12), lifeMs, KEEP_SECONDS]);
  const [kind, spent, max] = reply as [ReserveOutcome["kind"], string, string];
  return kind === "over" ? { kind, spentUsd: Number(spent), maxCostUsd: Number(max) } : { kind };
}

/** The call is over and cost `usd`; 0 when it was not made. What was held for it is free again. */
export async function settleCost(store: Store, call: LedgerCall, usd: number): Promise<void> {
  await run(SETTLE, store, call, [usd.toFixed(12)]);
}

/** The ledger of one job, which lasts a day longer than the job can. Opened again, its limit and sums stand. */
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

function run(
  script: RedisScript,
  store: Store,
  { ledger, jobId, callId }: LedgerCall,
  args: readonly (string | number)[],
): Promise<unknown> {
  return script.run(store.redis, [ledger, store.keys.reserved(ledger)], [jobId, callId, ...args]);
}
