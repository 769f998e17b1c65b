import type { StreamEntry } from "../shared/stream-events.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

const TTL_SECONDS = 3600;
/** A bound on what many short entries cost, 40 minutes of them; the writer bounds their bytes. */
const MAX_ENTRIES = 50_000;

/**
 * Appends an entry once, whatever the connection made of its sender's command, and only to entries of its own token:
 * a worker that was stopped past its lock writes nothing more. A start (number 0) takes away what is void by it.
 */
const APPEND = new RedisScript(`
  local token, turn, number, pieces, ttl, maxEntries, channel = unpack(ARGV)
  number = tonumber(number)
  local function fieldsOf(entry)
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    return fields
  end
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  local last = newest and fieldsOf(newest) or {}
  if last.token == token and tonumber(last.number) >= number then return 'appended' end
  if number > 0 then
    if last.token and last.token ~= token then return 'superseded' end
    if last.token == nil or tonumber(last.number) ~= number - 1 then return 'lost' end
  end
  while number == 0 and newest and tonumber(last.turn) >= tonumber(turn) do
    redis.call('XDEL', KEYS[1], newest[1])
    newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    last = newest and fieldsOf(newest) or {}
  end
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', maxEntries, '*',
    'token', token, 'turn', turn, 'number', number, 'pieces', pieces)
  redis.call('EXPIRE', KEYS[1], ttl)
  redis.call('PUBLISH', channel, turn)
  return 'appended'
`);

/** `superseded`: another call writes this stream now. `lost`: Redis no longer has the entries before. */
export type AppendOutcome = "appended" | "superseded" | "lost";

export async function appendToStream(
  store: Store,
  jobId: string,
  { token, turn, number, pieces }: StreamEntry,
): Promise<AppendOutcome> {
  const outcome = await APPEND.run(
    store.redis,
    [store.keys.stream(jobId)],
    [token, turn, number, JSON.stringify(pieces), TTL_SECONDS, MAX_ENTRIES, store.keys.streamChannel(jobId)],
  );
  return outcome as AppendOutcome;
}
