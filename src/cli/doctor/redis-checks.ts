import type { Redis } from "ioredis";
import { judgeVersion, parseInfo, tryOut } from "../../store/check-redis.ts";
import { clockOf } from "../../store/redis-clock.ts";
import { addressOf, type RedisTarget } from "../../store/redis-target.ts";
import { bytesText } from "../progress/figures.ts";
import { type CheckGroup, fail, ok, warn } from "./check.ts";

const FULL = { warn: 0.8, fail: 0.95 };
const LATENCY_MS = { warn: 25, fail: 250 };
const CLOCK_MS = { warn: 5000, fail: 60_000 };
const PINGS = 15;

/** What Redis is asked for, over a connection of its own that gives up. */
export function redisChecks(redis: Redis, target: RedisTarget, prefix: string): CheckGroup {
  const info = async () => parseInfo(await redis.info());
  return {
    name: "Redis",
    checks: [
      {
        name: "version",
        run: async () => {
          const version = (await info()).get("redis_version") ?? "0";
          const fault = judgeVersion(version, addressOf(target));
          return fault ? fail(fault.message, fault.hint ?? "") : ok(`${version} at ${addressOf(target)}`);
        },
      },
      { name: "role", run: async () => role(await info(), target) },
      { name: "persistence", run: async () => persistence(await info(), await fsyncOf(redis)) },
      { name: "eviction", run: async () => eviction(await info()) },
      { name: "memory", run: async () => memory(await info()) },
      {
        name: "rights and scripts",
        run: async () => {
          await tryOut(redis, prefix);
          return ok("keys, messages and Lua scripts of the namespace work");
        },
      },
      { name: "clock", run: async () => clock(await clockOf({ redis }).look()) },
      { name: "latency", run: () => latency(redis) },
    ],
  };
}

type Info = ReadonlyMap<string, string>;

function role(info: Info, target: RedisTarget) {
  const isCluster = info.get("cluster_enabled") === "1";
  if (isCluster && !("group" in target))
    return fail(
      "it is a node of a Redis Cluster",
      "name some of its nodes in GLUELLM_REDIS_URL: redis+cluster://host:port,host:port",
    );
  if (info.get("role") === "slave")
    return fail("it is a replica, which takes no writes", "name the primary in GLUELLM_REDIS_URL");
  const replicas = Number(info.get("connected_slaves") ?? 0);
  if ("group" in target && replicas === 0)
    return warn("primary without a replica: nothing takes over when it fails", "give it a replica");
  return ok(replicas > 0 ? `primary with ${replicas} replica${replicas > 1 ? "s" : ""}` : "primary");
}

/** Undefined where the user may not ask for it. */
async function fsyncOf(redis: Redis): Promise<string | undefined> {
  const reply = (await redis.config("GET", "appendfsync").catch(() => undefined)) as string[] | undefined;
  return reply?.[1];
}

function persistence(info: Info, fsync: string | undefined) {
  if (info.get("aof_enabled") !== "1")
    return warn(
      "no append-only file: a restart of Redis loses jobs and paid results",
      "redis-cli CONFIG SET appendonly yes, and `appendonly yes` in redis.conf",
    );
  if (info.get("aof_last_write_status") === "err" || info.get("aof_last_bgrewrite_status") === "err")
    return fail(
      "the last write of the append-only file failed",
      "make room on the disk of Redis; its log names the fault",
    );
  if (fsync === "no")
    return warn(
      "the append-only file is written when the system likes: a crash of the machine loses up to 30 s",
      "redis-cli CONFIG SET appendfsync everysec",
    );
  return ok(`append-only file${fsync ? `, fsync ${fsync}` : ""}`);
}

function eviction(info: Info) {
  const policy = info.get("maxmemory_policy");
  if (policy === undefined || policy === "noeviction") return ok(policy ?? "not told by this server");
  return fail(
    `it evicts keys (maxmemory-policy ${policy}): jobs and paid results would vanish`,
    "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
  );
}

function memory(info: Info) {
  const bytes = (name: string) => Number(info.get(name) ?? 0);
  const used = bytes("used_memory");
  const limit = bytes("maxmemory");
  const most = limit || bytes("total_system_memory");
  if (!most) return ok(`${bytesText(used)} used`);
  const what = limit ? "maxmemory" : "the machine's memory";
  const seen = `${bytesText(used)} of ${bytesText(most)} (${what})`;
  const remedy = `raise ${limit ? "maxmemory" : "the machine's memory"}, or shorten GLUELLM_RETENTION_RESULTS, GLUELLM_RETENTION_COMPLETED and CACHE_SIZE_LIMIT`;
  if (used >= FULL.fail * most) return fail(`nearly full: ${seen}`, remedy);
  return used >= FULL.warn * most ? warn(`filling up: ${seen}`, remedy) : ok(seen);
}

function clock(aheadMs: number) {
  const off = Math.abs(aheadMs);
  const seen = `this machine's clock is ${(off / 1000).toFixed(1)} s ${aheadMs > 0 ? "ahead of" : "behind"} that of Redis`;
  if (off > CLOCK_MS.fail)
    return fail(`${seen}: workers here take no jobs`, "set the clock right: check NTP");
  if (off > CLOCK_MS.warn) return warn(seen, "check NTP on both machines");
  return ok(off < 100 ? "the same as that of Redis" : seen);
}

async function latency(redis: Redis) {
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const sentAt = performance.now();
    await redis.ping();
    times.push(performance.now() - sentAt);
  }
  times.sort((a, b) => a - b);
  const median = times[Math.floor(PINGS / 2)] ?? 0;
  const seen = `${median.toFixed(1)} ms for a round trip, at most ${(times.at(-1) ?? 0).toFixed(1)} ms`;
  const remedy = "run workers near Redis; look for slow commands: redis-cli SLOWLOG GET";
  if (median > LATENCY_MS.fail) return fail(seen, remedy);
  return median > LATENCY_MS.warn ? warn(seen, remedy) : ok(seen);
}
