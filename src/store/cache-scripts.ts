import { RedisScript } from "./redis-script.ts";

const NOW = `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * The entry, when it is young enough; else who makes the call: this caller, another one, or everyone for himself after
 * failures in a row, since a line of callers who fail one after the other would be worse than no cache. An entry is
 * `<epoch ms> <text>`; one that is not counts as absent.
 */
export const CLAIM = new RedisScript(`
  local entry, lead, uses = unpack(KEYS)
  local digest, token, leaseMs, maxAgeMs, maxFailures = unpack(ARGV)
  ${NOW}
  local kept = redis.call('GET', entry)
  local keptAt = kept and tonumber(string.match(kept, '^(%d+) '))
  if keptAt and now - keptAt < tonumber(maxAgeMs) then
    redis.pcall('ZADD', uses, 'XX', now, digest)
    return {'hit', kept}
  end
  local holder, since, failures = unpack(redis.call('HMGET', lead, 'token', 'since', 'failures'))
  if holder and holder ~= token then
    redis.call('HSET', lead, 'followed', '1')
    return {'follow', now - since}
  end
  if tonumber(failures or '0') >= tonumber(maxFailures) then return {'alone'} end
  redis.call('HSET', lead, 'token', token, 'since', now)
  redis.call('PEXPIRE', lead, leaseMs)
  return {'lead'}
`);

/** 0 when the lead is somebody else's by now. */
export const RENEW = new RedisScript(`
  if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);

/** The next caller leads; after `failures` in a row nobody does for a while. */
export const RELEASE = new RedisScript(`
  local lead = KEYS[1]
  local token, failures, ms, channel, message = unpack(ARGV)
  local holder, before, followed = unpack(redis.call('HMGET', lead, 'token', 'failures', 'followed'))
  if holder ~= token then return end
  redis.call('DEL', lead)
  local count = tonumber(before or '0') + tonumber(failures)
  if count > 0 then
    redis.call('HSET', lead, 'failures', count)
    redis.call('PEXPIRE', lead, ms)
  end
  if followed then redis.call('PUBLISH', channel, message) end
`);

/**
 * Keeps an entry and ends the lead; 0 when neither was done. Room is made first: of the four entries that were unused for longest, those that have
 * expired leave the books; then the least recently used ones go, at most 64 of them. When that is not enough, this
 * entry is not kept, and the next ones go on. The books expire with the entry that lives longest.
 */
export const KEEP = new RedisScript(`
  local entry, lead, uses, sizes = unpack(KEYS)
  local head, digest, token, text, ttlMs, bytes, maxBytes, channel, message = unpack(ARGV)
  ${NOW}
  local function forget(other)
    local size = redis.call('HGET', sizes, other)
    redis.call('ZREM', uses, other)
    redis.call('HDEL', sizes, other)
    if size then redis.call('HINCRBY', sizes, 'total', -size) end
  end
  local function fits()
    return tonumber(redis.call('HGET', sizes, 'total') or '0') + bytes <= tonumber(maxBytes)
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
  if fits() then
    redis.call('SET', entry, now .. ' ' .. text, 'PX', ttlMs)
    redis.call('ZADD', uses, now, digest)
    redis.call('HSET', sizes, digest, bytes)
    redis.call('HINCRBY', sizes, 'total', bytes)
    for _, book in ipairs({uses, sizes}) do
      if redis.call('PTTL', book) < tonumber(ttlMs) then redis.call('PEXPIRE', book, ttlMs) end
    end
  else
    redis.call('UNLINK', entry)
    return 0
  end
  local holder, followed = unpack(redis.call('HMGET', lead, 'token', 'followed'))
  if holder == token then redis.call('DEL', lead) end
  if followed then redis.call('PUBLISH', channel, message) end
  return 1
`);
