import { z } from "zod";
import { parseCompletionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { NEVER_LIMITING } from "./bullmq-internals.ts";
import { BARRED } from "./put-back.ts";
import { registeredQueues } from "./queue-registry.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * What there is of the fleet's queues, breakers and batches at one moment, read by one script: for metrics, alerts and autoscalers.
 * It changes nothing but the string `:metrics-reader`, the id of the process that tells the fleet's gauges: of all processes that
 * are scraped one does, so that sums over them are right. It keeps that place while it is scraped once in `READER_MS`.
 */

/** Longer than the usual time from scrape to scrape. */
const READER_MS = 90_000;
/** Jobs that are due so soon count as work that waits: a worker that is started for them takes as long. */
const SOON_MS = 30_000;
/** Batches that are looked at, the newest first. */
const MAX_BATCHES = 200;
/** Priorities of a queue that are looked through for its oldest job. */
const MAX_PRIORITIES = 32;
/** Jobs that were put back of which is looked whether workers can run them. */
const MAX_BARRED = 20;

/**
 * Keys: the place of the reader. Arguments: `prefix` of the namespace, `reader` (empty: whoever asks is told, and takes no place), its
 * time in ms; then name and budget key of each queue. Returns: the id of another reader, or the figures as JSON. Called by
 * `readFleetFigures`. Fence: none.
 *
 * Assumes of BullMQ what `partsOf`, `jobTimes` and `pauseQueues` in bullmq-internals.ts do, and: that a job's first delay stands in its
 * `opts`; that the score of a delayed job is its time in ms times 0x1000, and of a prioritized one its priority times 2^32 and a
 * counter; and that `meta` of a paused queue has the field `paused`.
 */
const READ = new Script({
  keys: ["place"],
  args: { prefix: "text", reader: "text", readerMs: "number", soonMs: "number", pausedFrom: "number" },
  moreArgs: "queues",
  lua: `${NOW}
    if reader ~= '' then
      local holder = redis.call('GET', place)
      if holder and holder ~= reader then return { 'other', holder } end
      redis.call('SET', place, reader, 'PX', readerMs)
    end
    local function sumOf(key)
      local sums = { 0, 0, 0, 0 }
      if key == '' then return sums end
      for second = math.floor(now / 1000) - 59, math.floor(now / 1000) do
        local values = redis.call('HMGET', prefix .. ':usage:' .. key .. ':' .. string.format('%.0f', second),
          'requests', 'tokens', 'outputTokens', 'rateLimited')
        for i = 1, 4 do sums[i] = sums[i] + (tonumber(values[i] or '') or 0) end
      end
      return sums
    end
    local function readQueue(queue, key)
      local function of(part) return prefix .. ':' .. queue .. ':' .. part end
      local oldest = now
      local function look(id)
        local fields = id and redis.call('HMGET', of(id), 'timestamp', 'opts')
        if not fields or not fields[1] then return end
        local isRead, opts = pcall(cjson.decode, fields[2] or '')
        local delay = isRead and type(opts) == 'table' and tonumber(opts.delay) or 0
        oldest = math.min(oldest, (tonumber(fields[1]) or now) + delay)
      end
      look(redis.call('LINDEX', of('wait'), 0))
      look(redis.call('LINDEX', of('wait'), -1))
      local next = 0
      for _ = 1, ${MAX_PRIORITIES} do
        local first = redis.call('ZRANGEBYSCORE', of('prioritized'), string.format('%.0f', next), '+inf',
          'WITHSCORES', 'LIMIT', 0, 1)
        if not first[1] then break end
        look(first[1])
        next = (math.floor(first[2] / 0x100000000) + 1) * 0x100000000
      end
      local function dueBy(at) return string.format('%.0f', at * 0x1000 + 0xfff) end
      look(redis.call('ZRANGEBYSCORE', of('delayed'), '-inf', dueBy(now), 'LIMIT', 0, 1)[1])
      -- What no worker can run is put back again and again, and has waited all the time.
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('delayed'), '-inf', dueBy(now + soonMs), 'LIMIT', 0, ${MAX_BARRED})) do
        local progress = redis.call('HGET', of(id), 'progress')
        if progress and string.find(progress, '${BARRED}', 1, true) then look(id) end
      end
      local limiter = tonumber(redis.call('GET', of('limiter')) or '') or 0
      local breaker = redis.call('HMGET', prefix .. ':breaker:' .. key, 'openedAt', 'probing')
      local used = sumOf(key)
      return {
        queue = queue,
        waiting = redis.call('LLEN', of('wait')) + redis.call('LLEN', of('paused')),
        prioritized = redis.call('ZCARD', of('prioritized')),
        active = redis.call('LLEN', of('active')),
        delayed = redis.call('ZCARD', of('delayed')),
        soon = redis.call('ZCOUNT', of('delayed'), '-inf', dueBy(now + soonMs)),
        asleep = redis.call('ZCARD', of('waiting-children')),
        completed = redis.call('ZCARD', of('completed')),
        failed = redis.call('ZCARD', of('failed')),
        oldestMs = now - oldest,
        isPaused = redis.call('HEXISTS', of('meta'), 'paused') == 1,
        pauseMs = limiter >= pausedFrom and math.max(0, redis.call('PTTL', of('limiter'))) or 0,
        breakerOpenMs = breaker[1] and now - tonumber(breaker[1]) or -1,
        isProbing = breaker[2] ~= false,
        requests = used[1], tokens = used[2], outputTokens = used[3], rateLimited = used[4],
      }
    end
    local figures = { queues = {}, batches = 0, rows = { waiting = 0, succeeded = 0, failed = 0 }, tenantRows = {}, workers = 0 }
    for i = 1, #queues, 2 do table.insert(figures.queues, readQueue(queues[i], queues[i + 1])) end
    local isUnderWay = { validating = true, in_progress = true, finalizing = true, cancelling = true }
    for _, id in ipairs(redis.call('ZREVRANGE', prefix .. ':batches', 0, ${MAX_BATCHES - 1})) do
      local batch = redis.call('HMGET', prefix .. ':batch:' .. id, 'status', 'total', 'succeeded', 'failed', 'tenant')
      if isUnderWay[batch[1]] then
        local function count(i) return tonumber(batch[i] or '') or 0 end
        figures.batches = figures.batches + 1
        figures.rows.succeeded = figures.rows.succeeded + count(3)
        figures.rows.failed = figures.rows.failed + count(4)
        local waiting, tenant = math.max(0, count(2) - count(3) - count(4)), batch[5] or '${DEFAULT_TENANT}'
        figures.rows.waiting = figures.rows.waiting + waiting
        figures.tenantRows[tenant] = (figures.tenantRows[tenant] or 0) + waiting
      end
    end
    for _, id in ipairs(redis.call('SMEMBERS', prefix .. ':workers')) do
      figures.workers = figures.workers + redis.call('EXISTS', prefix .. ':worker:' .. id)
    end
    figures.unreadable = redis.call('HLEN', prefix .. ':unreadable')
    return { 'read', cjson.encode(figures) }
  `,
});

const queueSchema = z.object({
  queue: z.string(),
  waiting: z.number(),
  prioritized: z.number(),
  active: z.number(),
  /** All that sleep until a time, and those of them that are due within half a minute. */
  delayed: z.number(),
  soon: z.number(),
  /** Runs that wait for what is not there yet. */
  asleep: z.number(),
  completed: z.number(),
  failed: z.number(),
  /** Since the oldest of those that might run could have begun; 0 when there is none. */
  oldestMs: z.number(),
  isPaused: z.boolean(),
  /** What is left of a pause that the provider asked for. */
  pauseMs: z.number(),
  /** Since the breaker opened; negative while it is closed. */
  breakerOpenMs: z.number(),
  isProbing: z.boolean(),
  /** Of the last minute. */
  requests: z.number(),
  tokens: z.number(),
  outputTokens: z.number(),
  rateLimited: z.number(),
});
export type QueueFigures = z.infer<typeof queueSchema>;

const figuresSchema = z.object({
  // An empty table of Lua is an object.
  queues: z.preprocess((value) => (Array.isArray(value) ? value : []), z.array(queueSchema)),
  batches: z.number(),
  rows: z.object({ waiting: z.number(), succeeded: z.number(), failed: z.number() }),
  /** Rows of those batches that have not ended, by tenant. */
  tenantRows: z.record(z.string(), z.number()),
  workers: z.number(),
  unreadable: z.number(),
});
export type FleetFigures = z.infer<typeof figuresSchema>;

/**
 * Returns the figures of the queues named, or of all.
 * @param reader the id of a process that wants to be the one that tells them; absent: everyone is told
 * @returns undefined when another process is the reader
 */
export async function readFleetFigures(
  store: Store,
  { reader = "", queues }: { reader?: string; queues?: (queue: string) => boolean } = {},
): Promise<FleetFigures | undefined> {
  const { redis, keys } = store;
  const names = (await registeredQueues(store)).filter((name) => queues?.(name) ?? true);
  const asked = names.flatMap((name) => [name, budgetKeyOf(name)]);
  const args = { prefix: keys.prefix, reader, readerMs: READER_MS, soonMs: SOON_MS };
  const reply = (await READ.run(
    redis,
    { place: keys.metricsReader },
    { ...args, pausedFrom: NEVER_LIMITING.max },
    { args: asked },
  )) as [string, string];
  return reply[0] === "read" ? figuresSchema.parse(JSON.parse(reply[1])) : undefined;
}

/** What the calls of the queue's jobs are counted by; empty where they make none. */
function budgetKeyOf(queue: string): string {
  return parseCompletionQueueName(queue)?.key ?? (queue === ROUTE_QUEUE ? queue : "");
}

/** Gives the reader's place back, so that another process tells the figures at its next scrape. */
export async function releaseReader({ redis, keys }: Store, reader: string): Promise<void> {
  if ((await redis.get(keys.metricsReader)) === reader) await redis.del(keys.metricsReader);
}

/** Returns what Redis uses of memory and may use, in bytes; 0: without a bound. */
export async function readRedisMemory({ redis }: Store): Promise<{ usedBytes: number; limitBytes: number }> {
  const info = await redis.info("memory");
  const of = (field: string) => Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  return { usedBytes: of("used_memory"), limitBytes: of("maxmemory") };
}
