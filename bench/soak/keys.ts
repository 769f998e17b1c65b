import type { Redis } from "ioredis";

/**
 * Why a key is there, and how it goes:
 * - `soon`: within minutes of its last use, with the settings of a soak. At the end there is none.
 * - `later`: by an expiry of its own that no setting shortens.
 * - `stays`: it has no expiry, and does not grow with the work: at most so many entries.
 */
type Life = { goes: "soon" | "later"; why: string } | { goes: "stays"; why: string; maxEntries: number };

const soon = (why: string): Life => ({ goes: "soon", why });
const later = (why: string): Life => ({ goes: "later", why });
const stays = (why: string, maxEntries: number): Life => ({ goes: "stays", why, maxEntries });

const QUEUE = "(?:completions|workflows|activities)\\.[^:]+|schedules|webhooks|probe";
/** A run of 45 minutes uses some 25 names of models. */
const QUEUES = 100;
/** What the load makes of what stays until somebody deletes it: schedules, workflows, limits. */
const FEW = 20;

/** By the key after the namespace's prefix; the first that fits. The table in ARCHITECTURE.md says more of each. */
const LIVES: [kind: string, key: RegExp, life: Life][] = [
  [
    "queue: lists",
    parts(
      "wait|active|paused|prioritized|delayed|waiting-children|completed|failed|stalled|marker|pc|limiter",
    ),
    soon("jobs that have not ended, or not long ago"),
  ],
  ["queue: events", parts("events"), stays("the latest 1,000 events; goes with its queue", 1100)],
  ["queue: itself", parts("meta|id|stalled-check"), stays("goes with its queue, after 30 quiet days", FEW)],
  ["queue: schedulers", parts("repeat(?::.+)?"), soon("goes with its schedule")],
  ["queue: jobs", parts(".+"), soon("a job, its lock, its children")],
  ["results of rows", /^:result:batch_/, later("30 days; a mark of a day once the row is in its file")],
  ["results", /^:result:/, later("of a cancelled job 7 days; others for the retention of results")],
  ["journals", /^:journal:/, soon("deleted with the job's success")],
  ["streams", /^:stream:/, later("an hour after its last piece")],
  ["idempotency keys", /^:idempotency/, later("7 days")],
  ["blobs", /^:blob:/, soon("deleted with their last owner")],
  [
    "conversations",
    /^:conversation:/,
    later("the deadline of the last call, and the retention of conversations"),
  ],
  ["responses", /^:response:/, soon("the retention of results")],
  ["undelivered", /^:undelivered:/, later("10 minutes")],
  ["batches of programs", /^:batch:/, later("30 days")],
  ["list of batches", /^:batches$/, stays("an entry 30 days", 1000)],
  ["batches of the API", /^:served-batch:/, later("30 days")],
  ["batches of the API, list", /^:served-batches:/, stays("entries until their batches go", 1000)],
  ["batches of the API, open", /^:served-batches-open$/, stays("no batch is open", 0)],
  ["files", /^:(?:file:|files:|file-expiries)/, soon("they were deleted")],
  ["API keys", /^:api-keys?(?::|$)/, stays("a key that is valid: callers have it", FEW)],
  ["costs", /^:cost:/, later("a day after the job's deadline")],
  ["runs", /^:workflow:/, soon("the retention of runs")],
  ["runs, lists", /^:workflow-(?:runs|deadlines)$/, soon("entries go with their runs")],
  ["workflows", /^:workflow-(?:versions|signals)$/, stays("an entry for each workflow", FEW)],
  ["schedules", /^:schedules?(?::|$)/, soon("they were deleted")],
  ["sweeps", /^:(?:.+-sweep|workflow-sweep)$/, soon("some seconds")],
  ["outbox", /^:outbox$/, stays("who reads what has ended", FEW)],
  ["outbox: history", /^:outbox:history$/, stays("what its reader has not taken", 0)],
  ["outbox: lease", /^:outbox:.*lease$/, soon("5 s")],
  ["workers", /^:workers$/, stays("ids of processes, until somebody lists them", FEW)],
  ["worker cards", /^:worker:/, soon("15 s")],
  ["registry of queues", /^:queues$/, stays("an entry until its queue is quiet for 30 days", QUEUES)],
  ["tenants", /^:(?:tenant:.+|tenants|shared)$/, later("30 to 40 days after their last work")],
  ["shares", /^:shares:/, stays("the order of a queue's tenants; goes with its queue", FEW)],
  ["usage", /^:usage:/, later("3 minutes")],
  [
    "counts by the hour",
    /^:(?:errors|successes|outcomes):\d+$/,
    later("26 hours to 7 days, two or three keys an hour"),
  ],
  ["times of calls", /^:call-times$/, later("7 days")],
  ["alerts", /^:(?:alerts|alert-claim:.+)$/, later("a minute to 7 days")],
  ["limits that were learned", /^:learned-limits/, stays("an entry for each budget", QUEUES)],
  ["budgets", /^(?:b_|:limit:)/, later("7 days")],
  ["breakers", /^:breaker:/, later("an hour")],
  ["cache", /^:cache/, soon("their retention")],
  ["metrics", /^:metrics-reader$/, later("90 s")],
];

function parts(names: string): RegExp {
  return new RegExp(`^:(?:${QUEUE}):(?:${names})$`);
}

const PREFIX = /^(b_)?\{gluellm:[^}]*\}/;

function rowOf(key: string) {
  const rest = key.replace(PREFIX, "$1");
  return LIVES.find(([, pattern]) => pattern.test(rest));
}

/** Returns how many keys there are of each kind; those that are on no list are of the kind `unknown`. */
export async function kindsIn(redis: Redis): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for await (const key of keysOf(redis)) {
    const [kind] = rowOf(key) ?? ["unknown"];
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Whether a kind of keys outlives a soak, so that there are more of them the more was done. */
export function outlives(kind: string): boolean {
  const [, , life] = LIVES.find(([name]) => name === kind) ?? [];
  return life !== undefined && life.goes !== "soon";
}

/** Returns what is wrong with the keys that are left when all has ended and nobody works: each has a reason, and an expiry or few entries. */
export async function faultsOf(redis: Redis): Promise<string[]> {
  const faults: string[] = [];
  for await (const key of keysOf(redis)) {
    const [, , life] = rowOf(key) ?? [];
    const ttlMs = await redis.pttl(key);
    if (!life) faults.push(`${key} is of no known kind`);
    else if (life.goes === "soon") faults.push(`${key} is still there: ${life.why}; it has ${ttlMs} ms left`);
    else if (life.goes === "later" && ttlMs < 0) faults.push(`${key} has no expiry: ${life.why}`);
    else if (life.goes === "stays") {
      const entries = await entriesOf(redis, key);
      if (entries > life.maxEntries) faults.push(`${key} has ${entries} entries: ${life.why}`);
    }
  }
  return faults.sort();
}

async function* keysOf(redis: Redis): AsyncGenerator<string> {
  const seen = new Set<string>();
  for await (const keys of redis.scanStream({ count: 1000 }))
    for (const key of keys as string[]) {
      // A scan may bring a key twice.
      if (!seen.has(key)) yield key;
      seen.add(key);
    }
}

async function entriesOf(redis: Redis, key: string): Promise<number> {
  switch (await redis.type(key)) {
    case "hash":
      return redis.hlen(key);
    case "set":
      return redis.scard(key);
    case "zset":
      return redis.zcard(key);
    case "list":
      return redis.llen(key);
    case "stream":
      return redis.xlen(key);
    default:
      return 1;
  }
}
