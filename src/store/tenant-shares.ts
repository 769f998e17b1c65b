import type { Urgency } from "../shared/catalog.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { HEAD_PRIORITY, partsOf } from "./bullmq-internals.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The order of a queue in which several tenants have jobs: start-time fair queueing (Goyal, Vin, Cheng 1996). A job's
 * priority is its start tag: the later of the queue's virtual clock and the end of its tenant's job before, which is that
 * job's start and its tokens by the tenant's weight. So a tenant with ten thousand jobs stands beside one with ten, not
 * before it. The hash `:shares:<queue>:<class>` has the `clock`, `most` (the highest tag given out) and `of:<flow>` → the end of a
 * flow's latest job, a flow being a tenant, or a batch of one.
 *
 * The clock goes by what waits: it is at the lowest tag of those. When nothing waits, everything before has begun, and no
 * debts are left: all of the hash goes. A process that dies between a tag and its job has only moved its tenant on.
 * Jobs that wait are never changed. When the tags of a class are used up, which takes about a billion tokens
 * without a moment in which nothing waits, the jobs of the class come first in, first out until then.
 */

/** Priorities of a class, and how many tokens one step of them is. Interactive jobs come before all rows of batches. */
const BANDS: Record<Urgency, { first: number; last: number; tokens: number }> = {
  interactive: { first: 1, last: 1_000_000, tokens: 1000 },
  batch: { first: 1_000_001, last: 2_097_151, tokens: 5000 },
};
/** How long the word that a namespace has tenants lasts without one, and how long a process believes what it read. */
const SHARED_SECONDS = 30 * 86_400;
const BELIEVED_MS = 5000;

/**
 * Takes start tags for jobs of one flow. Keys: the class's hash of the queue; the tenants' settings; the mark that there
 * are tenants; the queue's lists of jobs with a priority, running ones and delayed ones. Arguments: the tenant, the batch or
 * nothing, the class's first and last priority, the seconds of the mark; then what each job costs, in steps. Returns: a priority each. Called by
 * `takeShares` before jobs are added. Fence: none; a tag that is not used harms nobody.
 */
const TAKE = new Script({
  keys: ["shares", "tenants", "shared", "prioritized", "active", "delayed"],
  args: { tenant: "text", batch: "text", first: "number", last: "number", keepSeconds: "number" },
  moreArgs: "costs",
  lua: `
    ${HEAD_PRIORITY}
    if tenant ~= '${DEFAULT_TENANT}' then redis.call('SET', shared, 1, 'EX', keepSeconds) end
    local head = headPriority(prioritized, first, last)
    local function field(name) return tonumber(redis.call('HGET', shares, name) or '') end
    local clock
    if head then clock = math.max(field('clock') or first, head)
    else
      local most, running = field('most') or first, redis.call('EXISTS', active) == 1
      local isIdle = redis.call('EXISTS', delayed) == 0 and (not running or most > (first + last) / 2)
      clock = isIdle and first or most
      redis.call('DEL', shares)
    end
    local rivals, flow = 0, 'of:' .. tenant .. '/' .. batch
    if batch ~= '' then
      local known, ofTenant = redis.call('HGETALL', shares), 'of:' .. tenant .. '/'
      for n = 1, #known, 2 do
        local name = known[n]
        if name:sub(1, 3) == 'of:' and name ~= flow then
          if tonumber(known[n + 1]) <= clock then redis.call('HDEL', shares, name)
          elseif name:sub(1, #ofTenant) == ofTenant then rivals = rivals + 1 end
        end
      end
    end
    local isRead, settings = pcall(cjson.decode, redis.call('HGET', tenants, tenant) or '{}')
    local weight = (isRead and type(settings) == 'table' and tonumber(settings.weight) or 1) / (rivals + 1)
    local tag, tags = math.max(clock, field(flow) or first), {}
    for n, cost in ipairs(costs) do
      tags[n] = math.min(math.floor(tag), last)
      tag = tag + cost / weight
    end
    redis.call('HSET', shares, 'clock', clock, flow, tag, 'most', math.max(field('most') or first, tags[#tags]))
    return tags
  `,
});

/** Jobs that are about to be added to a queue. */
export interface Sharers {
  queue: string;
  urgency: Urgency;
  /** Default: `default`. */
  tenant?: string | undefined;
  /** Whose rows they are: batches of a tenant share its part. */
  batchId?: string | undefined;
  /** Returns the tokens that each is expected to use; called when there are tenants. */
  tokens(): readonly number[];
}

/** Gives the jobs of a process their places among those of other tenants. */
export class TenantShares {
  readonly #store: Store;
  #isShared = false;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Returns a priority for each job; undefined while the namespace has no tenant but `default`, which costs nothing. */
  async take({
    queue,
    urgency,
    tenant = DEFAULT_TENANT,
    batchId = "",
    tokens,
  }: Sharers): Promise<number[] | undefined> {
    if (!(tenant !== DEFAULT_TENANT || (await this.#hasTenants()))) return undefined;
    const { redis, keys } = this.#store;
    const { prioritized, active, delayed } = partsOf(this.#store, queue);
    const { first, last, tokens: step } = BANDS[urgency];
    const costs = tokens().map((count) => count / step);
    const tags = await TAKE.run(
      redis,
      {
        shares: keys.shares(queue, urgency),
        tenants: keys.tenants,
        shared: keys.shared,
        prioritized,
        active,
        delayed,
      },
      { tenant, batch: batchId, first, last, keepSeconds: SHARED_SECONDS },
      { args: costs },
    );
    return tags as number[];
  }

  async #hasTenants(): Promise<boolean> {
    const at = performance.now();
    if (at - this.#readAt > BELIEVED_MS) {
      this.#isShared = (await this.#store.redis.exists(this.#store.keys.shared)) === 1;
      this.#readAt = at;
    }
    return this.#isShared;
  }
}
