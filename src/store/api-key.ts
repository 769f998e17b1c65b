import { z } from "zod";
import { newToken, readToken } from "../shared/api-token.ts";
import { InputError } from "../shared/errors.ts";
import { guardrailNamesSchema } from "../shared/guardrail.ts";
import type { ShownKey } from "../shared/principal.ts";
import { type Scope, scopeSchema } from "../shared/scopes.ts";
import { readStored } from "../shared/stored-data.ts";
import { tenantSchema } from "../shared/tenant.ts";
import { PERIODS, type PeriodLedger, periodLedgers, periodOf, spentIn } from "./period-ledger.ts";
import { repliesOf } from "./redis.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A key of the API: the hash `:api-key:<id>`, listed by the time of its making in the sorted set `:api-keys`. Of its secret
 * the SHA-256 is stored.
 *
 * | from   | to      | by             | who                                                                |
 * |--------|---------|----------------|--------------------------------------------------------------------|
 * | none   | valid   | `saveApiKey`   | an operator, or a process whose data folder has a local key        |
 * | valid  | revoked | `revokeApiKey` | an operator; the next request is refused already                   |
 * | valid  | expired | –              | its `expiresAt` has passed                                         |
 * | any    | none    | –              | 30 days after it was revoked or has expired; a valid key stays     |
 *
 * What it spends in a day or month under a limit of that has a ledger of its own, `:api-key:<id>:<2026-11-29 or 2026-11>`.
 * In the hash, too: `requests` and `lastUsedAt`; the token bucket of its rate (`tokens`, `tokensAt`); `costUsd`, the sum of
 * its results (result-record.ts); and with a limit the ledger of that (cost-ledger.ts).
 */

const KEEP_MS = 30 * 86_400_000;

const flag = z.coerce.number().optional();
const apiKeySchema = z.object({
  id: z.string(),
  name: z.string().default(""),
  tenant: tenantSchema,
  scopes: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(z.array(scopeSchema)),
  /** Epoch milliseconds, as all times here. */
  createdAt: z.coerce.number(),
  expiresAt: flag,
  revokedAt: flag,
  /** Requests that ask for something, per minute. */
  rpm: flag,
  /** What its calls may cost together. */
  maxCostUsd: flag,
  /** The same by day and by month, of UTC. */
  maxCostUsdPerDay: flag,
  maxCostUsdPerMonth: flag,
  /** Names of the guardrails that hold for all that is asked by it. */
  guardrails: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(guardrailNamesSchema)
    .optional(),
  requests: z.coerce.number().default(0),
  lastUsedAt: flag,
  costUsd: z.coerce.number().default(0),
  spentUsd: z.coerce.number().default(0),
});

/** A key as its owner sees it. */
export interface ApiKey {
  id: string;
  name: string;
  tenant: string;
  scopes: Scope[];
  createdAt: number;
  expiresAt?: number | undefined;
  revokedAt?: number | undefined;
  /** Requests per minute that it may make; reading (GET) does not count. */
  rpm?: number | undefined;
  maxCostUsd?: number | undefined;
  /** What its calls may cost by day and by month, of UTC. */
  maxCostUsdPerDay?: number | undefined;
  maxCostUsdPerMonth?: number | undefined;
  /** Names of the guardrails that hold for all that is asked by it. */
  guardrails?: readonly string[] | undefined;
  requests: number;
  lastUsedAt?: number | undefined;
  /** What its calls cost so far, in USD; of limited keys those are included whose outcome is not known. */
  spentUsd: number;
  /** Where that has a limit: what it has spent today, and in this month. */
  spentUsdToday?: number;
  spentUsdThisMonth?: number;
}

/** What a key is made with. */
export interface NewApiKey
  extends Pick<
    ApiKey,
    | "name"
    | "tenant"
    | "scopes"
    | "expiresAt"
    | "rpm"
    | "maxCostUsd"
    | "maxCostUsdPerDay"
    | "maxCostUsdPerMonth"
    | "guardrails"
  > {
  /** Default: a new one. */
  token?: string;
}

/** Makes a key. Returns its id and its token, which nothing tells again. */
export async function saveApiKey(
  { redis, keys }: Store,
  { token = newToken(), scopes, guardrails, ...fields }: NewApiKey,
): Promise<{ id: string; token: string }> {
  const read = readToken(token);
  if (!read) throw new InputError("this is no key of the API", "keys look like gk_<id>_<secret>");
  const { keyId: id, digest } = read;
  const now = Date.now();
  const values = { ...fields, id, digest, scopes: JSON.stringify(scopes), createdAt: now };
  if (guardrails?.length) Object.assign(values, { guardrails: JSON.stringify(guardrails) });
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const transaction = redis
    .multi()
    .hset(keys.apiKey(id), Object.fromEntries(given))
    .zadd(keys.apiKeys, now, id);
  if (fields.expiresAt !== undefined) transaction.pexpireat(keys.apiKey(id), fields.expiresAt + KEEP_MS);
  await repliesOf(transaction);
  return { id, token };
}

/** How long a process keeps to what it read of a key: rows of batches would ask for each. */
const GUARDRAILS_MS = 1000;
const guardrailsRead = new Map<string, { at: number; names: Promise<readonly string[]> }>();

/** Returns the names of the guardrails of a key, by its id; none for no key. @throws GlueError `corrupt_data` */
export function keyGuardrails({ redis, keys }: Store, id: string | undefined): Promise<readonly string[]> {
  if (id === undefined) return Promise.resolve([]);
  const key = keys.apiKey(id);
  const known = guardrailsRead.get(key);
  const now = performance.now();
  if (known && now - known.at < GUARDRAILS_MS) return known.names;
  const names = redis
    .hget(key, "guardrails")
    .then((text) =>
      text === null ? [] : readStored(`the key ${id}`, () => guardrailNamesSchema.parse(JSON.parse(text))),
    );
  if (guardrailsRead.size > 1000) guardrailsRead.clear();
  guardrailsRead.set(key, { at: now, names });
  names.catch(() => guardrailsRead.delete(key));
  return names;
}

/** Returns a key; undefined when there is none (any more). @throws GlueError `corrupt_data` */
export async function readApiKey(store: Store, id: string): Promise<ApiKey | undefined> {
  const fields = await store.redis.hgetall(store.keys.apiKey(id));
  if (fields.id === undefined) return undefined;
  const { costUsd, ...key } = readStored(`the key ${id}`, () => apiKeySchema.parse(fields));
  const [today, month] = await Promise.all(
    PERIODS.map(async ({ limit, chars }) =>
      key[limit] === undefined
        ? undefined
        : await spentIn(store, store.keys.apiKeyPeriod(id, periodOf(store, chars))),
    ),
  );
  return {
    ...key,
    spentUsd: Math.max(key.spentUsd, costUsd),
    ...(today !== undefined && { spentUsdToday: today }),
    ...(month !== undefined && { spentUsdThisMonth: month }),
  };
}

/** A ledger that the calls of a key count towards; without a period it is for all time. */
export type KeyLedger = Omit<PeriodLedger, "period"> & Partial<Pick<PeriodLedger, "period">>;

/** Returns the ledgers of a key's limits; those of the present day and month begin here. */
export async function openKeyLedgers(store: Store, id: string): Promise<KeyLedger[]> {
  const { redis, keys } = store;
  const fields = ["maxCostUsd", ...PERIODS.map(({ limit }) => limit)];
  const [whole, perDay, perMonth] = await redis.hmget(keys.apiKey(id), ...fields);
  const limitOf = (text: string | null | undefined) => (text == null ? undefined : Number(text));
  const limits = { maxCostUsdPerDay: limitOf(perDay), maxCostUsdPerMonth: limitOf(perMonth) };
  return [
    ...(whole == null ? [] : [{ ledger: keys.apiKey(id) }]),
    ...(await periodLedgers(store, limits, (period) => keys.apiKeyPeriod(id, period))),
  ];
}

/** Returns all keys, the newest first. */
export async function listApiKeys(store: Store): Promise<ApiKey[]> {
  const { redis, keys } = store;
  const ids = await redis.zrevrange(keys.apiKeys, 0, -1);
  const found = await Promise.all(ids.map((id) => readApiKey(store, id)));
  const gone = ids.filter((_, i) => found[i] === undefined);
  if (gone.length > 0) await redis.zrem(keys.apiKeys, ...gone);
  return found.filter((key) => key !== undefined);
}

/**
 * Keys: the key. Arguments: how long it is kept. Returns: whether there is such a key. Called by `revokeApiKey`. Fence:
 * none; the first revocation stands.
 */
const REVOKE = new Script({
  keys: ["key"],
  args: { keepMs: "number" },
  lua: `${NOW}
    if redis.call('HEXISTS', key, 'digest') == 0 then return 0 end
    if redis.call('HSETNX', key, 'revokedAt', now) == 1 then redis.call('PEXPIRE', key, keepMs) end
    return 1
  `,
});

/** Revokes a key: no request with it is let in any more. Returns false when there is none. */
export async function revokeApiKey({ redis, keys }: Store, id: string): Promise<boolean> {
  return (await REVOKE.run(redis, { key: keys.apiKey(id) }, { keepMs: KEEP_MS })) === 1;
}

/**
 * Lets a request in, counts it, and takes it from the key's rate (a bucket of a minute's requests, filled steadily).
 * Keys: the key. Arguments: the `digest` of what the caller showed; whether the request asks for something (`isCounted`).
 * Returns: {outcome, what goes with it …}: see `Admission`. Called by `admit`, for each request. Fence: the digest: Lua
 * compares texts by their address, so the time tells nothing of them.
 */
const ADMIT = new Script({
  keys: ["key"],
  args: { digest: "text", isCounted: "flag" },
  lua: `${NOW}
    local names = {'digest', 'revokedAt', 'expiresAt', 'rpm', 'maxCostUsd', 'tenant', 'scopes', 'tokens', 'tokensAt', 'spentUsd', 'costUsd', 'maxCostUsdPerDay', 'maxCostUsdPerMonth'}
    local values = redis.call('HMGET', key, unpack(names))
    if not values[1] or values[1] ~= digest then return {'unknown'} end
    if values[2] then return {'revoked'} end
    if values[3] and tonumber(values[3]) <= now then return {'expired'} end
    local rpm, maxUsd = tonumber(values[4] or ''), tonumber(values[5] or '')
    local spent = math.max(tonumber(values[10] or '') or 0, tonumber(values[11] or '') or 0)
    if isCounted and maxUsd and spent >= maxUsd then return {'spent', tostring(spent), tostring(maxUsd)} end
    if isCounted and rpm then
      local tokens = tonumber(values[8] or '') or rpm
      tokens = math.min(rpm, tokens + math.max(0, now - (tonumber(values[9] or '') or now)) * rpm / 60000)
      if tokens < 1 then return {'limited', tostring(math.ceil((1 - tokens) * 60000 / rpm))} end
      redis.call('HSET', key, 'tokens', string.format('%.6f', tokens - 1), 'tokensAt', now)
    end
    redis.call('HSET', key, 'lastUsedAt', now)
    redis.call('HINCRBY', key, 'requests', 1)
    return {'admitted', values[6], values[7], values[5] or values[12] or values[13] or ''}
  `,
});

/**
 * Lua: `spendByKey(key, costUsd, before)` adds what a job cost to its key, less what `before`, the job's record so far, has
 * brought there already (`knownCost(before)`). A key that is gone stays so.
 */
export const SPEND_BY_KEY = `
  local function knownCost(before)
    return before and type(before.costUsd) == 'number' and before.costUsd or 0
  end
  local function spendByKey(key, costUsd, before)
    if not costUsd or redis.call('HEXISTS', key, 'digest') == 0 then return end
    redis.call('HINCRBYFLOAT', key, 'costUsd', string.format('%.12f', costUsd - knownCost(before)))
  end
`;

/** What became of a request. */
export type KeyAdmission =
  | { outcome: "admitted"; tenant: string; scopes: Scope[]; hasCostLimit: boolean }
  | { outcome: "unknown" | "revoked" | "expired" }
  /** Too many in this minute. */
  | { outcome: "limited"; retryAfterMs: number }
  /** Its money is spent. */
  | { outcome: "spent"; spentUsd: number; maxCostUsd: number };

/** Decides over a request by what its caller showed. A revoked key is refused from the next request on: nothing is cached. */
export async function admitRequest(
  store: Store,
  { keyId, digest }: ShownKey,
  isCounted: boolean,
): Promise<KeyAdmission> {
  const keys = { key: store.keys.apiKey(keyId) };
  const reply = (await ADMIT.run(store.redis, keys, { digest, isCounted })) as [
    KeyAdmission["outcome"],
    ...string[],
  ];
  const [outcome, first = "", second = "", third = ""] = reply;
  if (outcome === "limited") return { outcome, retryAfterMs: Number(first) };
  if (outcome === "spent") return { outcome, spentUsd: Number(first), maxCostUsd: Number(second) };
  if (outcome !== "admitted") return { outcome };
  const scopes = readStored(`the key ${keyId}`, () => z.array(scopeSchema).parse(JSON.parse(second)));
  return { outcome, tenant: first, scopes, hasCostLimit: third !== "" };
}
