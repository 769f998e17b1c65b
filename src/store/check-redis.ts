import type { Redis, RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { ConfigurationError } from "../shared/errors.ts";
import { newRedis, repliesOf } from "./redis.ts";
import { redisFault } from "./redis-fault.ts";
import { addressOf, type RedisTarget } from "./redis-target.ts";

const MIN_VERSION = [6, 0];
const KEEPS_ALL = "noeviction";

/** Faults that pass: everything waits for their end. */
const PASSING = new Set(["redis_full", "redis_disk", "redis_loading"]);

interface CheckOptions {
  /** The beginning of our keys. */
  prefix: string;
  logger: Logger;
  /** Ends the check, as if the server did not answer. */
  signal?: AbortSignal;
  /** Whether a key is written and deleted to see that it can be; default true. */
  triesWrites?: boolean;
}

/**
 * Checks once that a server can hold the queues: that it can be reached and written to, that it is a single primary, its
 * version, that it never evicts keys, that it persists.
 * @throws ConfigurationError that says which Redis, why not, and what to do: unreachable within 5 s, no rights, a
 * database that it does not have, a replica, a cluster, too old, or one that evicts
 */
export async function checkRedis(
  target: RedisTarget,
  { prefix, logger, signal, triesWrites = true }: CheckOptions,
): Promise<void> {
  try {
    await withProbe(
      target,
      async (redis, info) => {
        judge(info, target, logger);
        if (triesWrites) await tryOut(redis, prefix);
      },
      signal,
    );
  } catch (error) {
    // Workers are what makes room again.
    if (!(error instanceof ConfigurationError && PASSING.has(error.code))) throw error;
    logger.warn({ hint: error.hint }, error.message);
  }
}

/**
 * Does work over a connection of its own, which gives up after 5 s instead of waiting, with what the server says of itself.
 * @throws ConfigurationError that says which Redis, what is wrong, and what to do
 */
export async function withProbe<T>(
  target: RedisTarget,
  work: (redis: Redis, info: Map<string, string>) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const probe: RedisOptions = {
    lazyConnect: true,
    connectTimeout: 5000,
    // What takes connections may answer nothing.
    commandTimeout: 5000,
    // Without it a refused connection keeps the process alive for two seconds.
    disconnectTimeout: 50,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  };
  const redis = newRedis(target, probe);
  // What the connection met first: the promise only says that it is closed. A database that the server does not have is
  // told here alone, and ioredis would go on in database 0.
  let met: Error | undefined;
  redis.on("error", (error: Error) => {
    met ??= error;
  });
  const giveUp = () => redis.disconnect();
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    await redis.connect();
    const info = parseInfo(await redis.info());
    if (met) throw met;
    return await work(redis, info);
  } catch (error) {
    throw error instanceof ConfigurationError ? error : redisFault(met ?? error, target);
  } finally {
    signal?.removeEventListener("abort", giveUp);
    redis.disconnect();
  }
}

/** Writes, publishes and runs a script in our namespace, and leaves nothing behind. */
export async function tryOut(redis: Redis, prefix: string): Promise<void> {
  const key = `${prefix}:probe`;
  const tries = redis.pipeline().set(key, "1", "PX", 1000).publish(`${prefix}:events:probe`, "").del(key);
  await repliesOf(tries.eval("return 1", 0));
}

/** Returns what is wrong with a server's version; undefined when nothing is. */
export function judgeVersion(version: string, address: string): ConfigurationError | undefined {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_VERSION;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return undefined;
  const hint = `use ${MIN_VERSION.join(".")} or newer`;
  return new ConfigurationError(`Redis ${version} at ${address} is too old`, hint, "redis_too_old");
}

function judge(info: Map<string, string>, target: RedisTarget, logger: Logger): void {
  const address = addressOf(target);
  const tooOld = judgeVersion(info.get("redis_version") ?? "0", address);
  if (tooOld) throw tooOld;
  if (info.get("cluster_enabled") === "1" && !("group" in target)) throw new Error("cluster mode");
  const policy = info.get("maxmemory_policy");
  if (policy && policy !== KEEPS_ALL) {
    throw new ConfigurationError(
      `Redis at ${address} evicts keys (maxmemory-policy ${policy}): jobs and paid results would vanish`,
      `set maxmemory-policy ${KEEPS_ALL} on that server`,
      "redis_evicts",
    );
  }
  if (info.get("aof_enabled") === "0") {
    logger.warn(
      "Redis has no append-only file: a restart of Redis loses jobs and paid results (set appendonly yes)",
    );
  }
}

/** Returns the fields of an answer to INFO. */
export function parseInfo(text: string): Map<string, string> {
  return new Map(
    text
      .split(/\r?\n/)
      .filter((line) => line.includes(":"))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
}
