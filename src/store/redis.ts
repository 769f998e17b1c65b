import { type ChainableCommander, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { ConfigurationError } from "../shared/errors.ts";

/** Where Redis is: a URL (`redis://`, `rediss://`) or the embedded server's socket. */
export type RedisTarget = { url: string } | { socketPath: string };

/** `unix:///path` means a socket, anything else is ioredis's own URL form. */
export function redisTarget(url: string): RedisTarget {
  return url.startsWith("unix://") ? { socketPath: url.slice("unix://".length) } : { url };
}

/**
 * Opens a connection that waits for Redis rather than failing: workers and row senders outlive a restart.
 * Faults are logged once per outage, not once per retry.
 */
export function connectRedis(target: RedisTarget, logger: Logger, options: RedisOptions = {}): Redis {
  const base: RedisOptions = {
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(50 * 2 ** times, 1000),
    ...options,
  };
  const redis =
    "url" in target ? new Redis(target.url, base) : new Redis({ ...base, path: target.socketPath });
  // Every queue of the process listens on its one connection.
  redis.setMaxListeners(0);
  let reported = false;
  redis.on("error", (error: Error) => {
    if (!reported) logger.warn({ fault: error.message }, "Redis is not reachable; waiting for it");
    reported = true;
  });
  redis.on("ready", () => {
    if (reported) logger.info("Redis is reachable again");
    reported = false;
  });
  return redis;
}

const MIN_VERSION = [6, 0];

/**
 * Checks once that a server can hold the queues: its version, that it never evicts keys, that it persists.
 * @param signal ends the check, as if the server did not answer
 * @throws ConfigurationError when it cannot be reached in 5 s, is too old, or evicts.
 */
export async function checkRedis(target: RedisTarget, logger: Logger, signal?: AbortSignal): Promise<void> {
  const probe = {
    lazyConnect: true,
    connectTimeout: 5000,
    // What takes connections may answer nothing.
    commandTimeout: 5000,
    // Without it a refused connection keeps the process alive for two seconds.
    disconnectTimeout: 50,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  };
  const redis =
    "url" in target ? new Redis(target.url, probe) : new Redis({ ...probe, path: target.socketPath });
  redis.on("error", () => {});
  const giveUp = () => redis.disconnect();
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    await redis.connect();
    judge(parseInfo(await redis.info()), logger);
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    throw new ConfigurationError(
      `Redis does not answer: ${(error as Error).message}`,
      "check GLUELLM_REDIS_URL or REDIS_URL; unset both to use the embedded Redis",
      "redis_unreachable",
    );
  } finally {
    signal?.removeEventListener("abort", giveUp);
    redis.disconnect();
  }
}

function judge(info: Map<string, string>, logger: Logger): void {
  const version = info.get("redis_version") ?? "0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_VERSION;
  if (major < minMajor || (major === minMajor && minor < minMinor)) {
    throw new ConfigurationError(`Redis ${version} is too old`, `use ${MIN_VERSION.join(".")} or newer`);
  }
  const policy = info.get("maxmemory_policy");
  if (policy && policy !== "noeviction") {
    throw new ConfigurationError(
      `Redis evicts keys (maxmemory-policy ${policy}): jobs and paid results would vanish`,
      "set maxmemory-policy noeviction on that server",
      "redis_evicts",
    );
  }
  if (info.get("aof_enabled") === "0") {
    logger.warn(
      "Redis has no append-only file: a restart of Redis loses jobs and paid results (set appendonly yes)",
    );
  }
}

function parseInfo(text: string): Map<string, string> {
  return new Map(
    text
      .split(/\r?\n/)
      .filter((line) => line.includes(":"))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
}

/** Sends a pipeline. Returns the replies in the order of its commands. @throws the error of the first that failed */
export async function repliesOf(pipeline: ChainableCommander): Promise<unknown[]> {
  return ((await pipeline.exec()) ?? []).map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}
