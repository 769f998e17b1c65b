import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";

/*
 * A cache entry: a text under the digest of what was asked, `:cache:<digest>`, as `<epoch ms> <text>`. Who makes it is
 * in the hash `:cache-lead:<digest>`: `token` of the caller that leads, `since` (epoch ms), `followed` when somebody
 * waits for it; or, without a token, `failures`, how many leads failed in a row. The books of all entries are
 * `:cache-uses` (digest by last use) and `:cache-sizes` (bytes by digest, and their `total`).
 *
 * | state  | in Redis                             | what changes it                                               |
 * |--------|--------------------------------------|---------------------------------------------------------------|
 * | absent | no entry, no lead                    | `claimEntry`: led                                             |
 * | led    | a lead with a `token`                | `keepEntry`: kept; `releaseLead`: absent, or failed;          |
 * |        |                                      | six seconds without `renewLead`: absent                       |
 * | failed | a lead without a `token`, `failures` | `claimEntry`: led, or after three failures everyone calls for |
 * |        |                                      | himself; after 30 s: absent                                   |
 * | kept   | the entry                            | after `ttlSeconds`, or when `keepEntry` of another entry      |
 * |        |                                      | needs its room: absent                                        |
 */

const LEASE_MS = 6000;
/** After so many failures in a row, callers of an entry no longer wait for each other for a while. */
const MAX_FAILURES = 3;
const FAILURES_LIFE_MS = 30_000;

/** A caller that asks for an entry. */
export interface Claimant {
  /** Of what was asked. */
  digest: string;
  /** Of this caller. */
  token: string;
}

/** What stands under a digest: an entry, or who is to make it. */
export type Claim =
  | { kind: "hit"; text: string }
  /** This caller, which has to `keepEntry` or `releaseLead` it. */
  | { kind: "lead" }
  /** Another one, which has been at it for so long. */
  | { kind: "follow"; elapsedMs: number }
  /** Every caller for itself: those before it failed. */
  | { kind: "alone" };

/**
 * Finds the entry, when it is young enough; else says who makes the call: this caller, another one, or everyone for
 * himself after failures in a row, since a line of callers who fail one after the other would be worse than no cache.
 * Keys: the entry, its lead, the uses. Arguments: the caller's `token`; `leaseMs` of the lead; `maxAgeMs`, from which an
 * entry counts as absent; `maxFailures` in a row. Returns: {'hit', entry}, {'lead'}, {'follow', elapsed ms} or
 * {'alone'}. Called by every call that may use the cache. Fence: none; the first caller leads.
 */
const CLAIM = new Script({
  keys: ["entry", "lead", "uses"],
  args: { digest: "text", token: "text", leaseMs: "number", maxAgeMs: "number", maxFailures: "number" },
  lua: `${NOW}
    local kept = redis.call('GET', entry)
    -- A text that does not begin with a time counts as absent.
    local keptAt = kept and tonumber(string.match(kept, '^(%d+) '))
    if keptAt and now - keptAt < maxAgeMs then
      redis.pcall('ZADD', uses, 'XX', now, digest)
      return {'hit', kept}
    end
    local holder, since, failures = unpack(redis.call('HMGET', lead, 'token', 'since', 'failures'))
    if holder and holder ~= token then
      redis.call('HSET', lead, 'followed', '1')
      return {'follow', now - since}
    end
    if tonumber(failures or '0') >= maxFailures then return {'alone'} end
    redis.call('HSET', lead, 'token', token, 'since', now)
    redis.call('PEXPIRE', lead, leaseMs)
    return {'lead'}
  `,
});

/**
 * Looks for the entry, and takes the lead when there is none.
 * @param maxAgeMs an older entry counts as absent
 */
export async function claimEntry(
  store: Store,
  { digest, token }: Claimant,
  maxAgeMs: number,
): Promise<Claim> {
  const { redis, keys } = store;
  const [kind, detail] = (await CLAIM.run(
    redis,
    { entry: keys.cached(digest), lead: keys.cacheLead(digest), uses: keys.cacheUses },
    { digest, token, leaseMs: LEASE_MS, maxAgeMs, maxFailures: MAX_FAILURES },
  )) as [Claim["kind"], (string | number)?];
  const text = String(detail);
  if (kind === "hit") {
    const opened = await openEntry(store, digest, text);
    return opened === undefined ? { kind: "alone" } : { kind, text: opened };
  }
  return kind === "follow" ? { kind, elapsedMs: Number(detail) } : { kind };
}

/**
 * Finds an entry without taking a lead. Keys: the entry, the uses. Arguments: its `digest`; `maxAgeMs`, from which it counts as absent.
 * Returns: the entry, or nil. Called for the answer of a like question. Fence: none; it changes nothing but the time of its last use.
 */
const PEEK = new Script({
  keys: ["entry", "uses"],
  args: { digest: "text", maxAgeMs: "number" },
  lua: `${NOW}
    local kept = redis.call('GET', entry)
    local keptAt = kept and tonumber(string.match(kept, '^(%d+) '))
    if not keptAt or now - keptAt >= maxAgeMs then return nil end
    redis.pcall('ZADD', uses, 'XX', now, digest)
    return kept
  `,
});

/** Returns an entry's text; undefined when there is none that is young enough. */
export async function peekEntry(store: Store, digest: string, maxAgeMs: number): Promise<string | undefined> {
  const { redis, keys } = store;
  const found = await PEEK.run(
    redis,
    { entry: keys.cached(digest), uses: keys.cacheUses },
    { digest, maxAgeMs },
  );
  return typeof found === "string" ? openEntry(store, digest, found) : undefined;
}

const KIND = "cache entry";

/** Returns the text of an entry; undefined where it cannot be decrypted: another call brings another one. */
async function openEntry({ sealing }: Store, digest: string, stored: string): Promise<string | undefined> {
  return sealing.open(KIND, digest, stored.slice(stored.indexOf(" ") + 1)).catch(() => undefined);
}

/**
 * Renews a lead. Keys: the lead. Arguments: its `token`, `leaseMs`. Returns: 0 when the lead is somebody else's by now.
 * Called by the lead, every two seconds. Fence: the token.
 */
const RENEW = new Script({
  keys: ["lead"],
  args: { token: "text", leaseMs: "number" },
  lua: `
    if redis.call('HGET', lead, 'token') ~= token then return 0 end
    return redis.call('PEXPIRE', lead, leaseMs)
  `,
});

/** The lead is kept for six seconds more. */
export async function renewLead({ redis, keys }: Store, { digest, token }: Claimant): Promise<void> {
  await RENEW.run(redis, { lead: keys.cacheLead(digest) }, { token, leaseMs: LEASE_MS });
}

/** How an entry's maker failed: by no fault of the entry, in a way that may pass, or as everyone will. */
export type Failure = "none" | "passing" | "lasting";
const WEIGHTS: Readonly<Record<Failure, number>> = { none: 0, passing: 1, lasting: MAX_FAILURES };

/**
 * Ends a lead without an entry: the next caller leads; after some failures in a row nobody does for a while.
 * Keys: the lead. Arguments: its `digest` and `token`; `failures` to add, kept for `lifeMs`; the channel.
 * Returns: nothing. Called by the lead whose call failed, or whose answer is not kept. Fence: the token.
 */
const RELEASE = new Script({
  keys: ["lead"],
  args: { digest: "text", token: "text", failures: "number", lifeMs: "number", channel: "text" },
  lua: `${NOTIFY}
    local holder, before, followed = unpack(redis.call('HMGET', lead, 'token', 'failures', 'followed'))
    if holder ~= token then return end
    redis.call('DEL', lead)
    local count = tonumber(before or '0') + failures
    if count > 0 then
      redis.call('HSET', lead, 'failures', count)
      redis.call('PEXPIRE', lead, lifeMs)
    end
    if followed then notify('cache', digest) end
  `,
});

/** Ends the lead without an entry. */
export async function releaseLead(
  store: Store,
  { digest, token }: Claimant,
  failure: Failure,
): Promise<void> {
  await RELEASE.run(
    store.redis,
    { lead: store.keys.cacheLead(digest) },
    {
      digest,
      token,
      failures: WEIGHTS[failure],
      lifeMs: FAILURES_LIFE_MS,
      channel: store.keys.channel,
    },
  );
}

/**
 * Keeps an entry and ends the lead. Room is made first: of the four entries that were unused for longest, those that
 * have expired leave the books; then the least recently used ones go, at most 64 of them. When that is not enough, this
 * entry is not kept, and the next ones go on. The books expire with the entry that lives longest.
 * Keys: the entry, its lead, the books. Arguments: `head` of all entries' keys; the caller's `token`; the entry's
 * `text`, `ttlMs` and size in `bytes`; `maxBytes` of all entries together; the channel. Returns: 1, or 0 when it was
 * not kept and the lead not ended. Called by whoever has made the call. Fence: none for the entry, since any answer is
 * good; the token for the lead.
 */
const KEEP = new Script({
  keys: ["entry", "lead", "uses", "sizes"],
  args: {
    head: "text",
    digest: "text",
    token: "text",
    text: "text",
    ttlMs: "number",
    bytes: "number",
    maxBytes: "number",
    channel: "text",
  },
  lua: `${NOTIFY}${NOW}
    local function forget(other)
      local size = redis.call('HGET', sizes, other)
      redis.call('ZREM', uses, other)
      redis.call('HDEL', sizes, other)
      if size then redis.call('HINCRBY', sizes, 'total', -size) end
    end
    local function fits()
      return tonumber(redis.call('HGET', sizes, 'total') or '0') + bytes <= maxBytes
    end
    -- A full Redis refuses it, but would let what follows a first command that only deletes through.
    redis.call('HINCRBY', sizes, 'total', 0)
    forget(digest)
    for _, other in ipairs(redis.call('ZRANGE', uses, 0, 3)) do
      if redis.call('EXISTS', head .. other) == 0 then forget(other) end
    end
    for _ = 1, 64 do
      if fits() then break end
      local oldest = redis.call('ZRANGE', uses, 0, 0)[1]
      if not oldest then redis.call('DEL', sizes) break end
      redis.call('UNLINK', head .. oldest)
      forget(oldest)
    end
    if not fits() then
      redis.call('UNLINK', entry)
      return 0
    end
    redis.call('SET', entry, now .. ' ' .. text, 'PX', ttlMs)
    redis.call('ZADD', uses, now, digest)
    redis.call('HSET', sizes, digest, bytes)
    redis.call('HINCRBY', sizes, 'total', bytes)
    for _, book in ipairs({uses, sizes}) do
      if redis.call('PTTL', book) < ttlMs then redis.call('PEXPIRE', book, ttlMs) end
    end
    local holder, followed = unpack(redis.call('HMGET', lead, 'token', 'followed'))
    if holder == token then redis.call('DEL', lead) end
    if followed then notify('cache', digest) end
    return 1
  `,
});

/** What an entry takes in Redis at most: its text as the allocator rounds it, its key and its place in the books. */
const memoryOf = (text: string) => Math.ceil(Buffer.byteLength(text) * 1.25) + 600;

/** Keeps an entry and ends the lead, when the caller has it. False, and neither is done, when there is no room. */
export async function keepEntry(
  { redis, keys, sealing }: Store,
  { digest, token }: Claimant,
  { text: plain, ttlSeconds, maxBytes }: { text: string; ttlSeconds: number; maxBytes: number },
): Promise<boolean> {
  const text = await sealing.seal(KIND, digest, plain);
  const kept = await KEEP.run(
    redis,
    {
      entry: keys.cached(digest),
      lead: keys.cacheLead(digest),
      uses: keys.cacheUses,
      sizes: keys.cacheSizes,
    },
    {
      head: keys.cached(""),
      digest,
      token,
      text,
      ttlMs: ttlSeconds * 1000,
      bytes: memoryOf(text),
      maxBytes,
      channel: keys.channel,
    },
  );
  return kept === 1;
}
