import { type ChainableCommander, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { redisFault } from "./redis-fault.ts";
import type { RedisTarget } from "./redis-target.ts";

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
    const { message, hint } = redisFault(error, target);
    if (!reported) logger.warn({ fault: message, hint }, "Redis is not reachable; waiting for it");
    reported = true;
  });
  redis.on("ready", () => {
    if (reported) logger.info("Redis is reachable again");
    reported = false;
  });
  return redis;
}

/** Sends a pipeline. Returns the replies in the order of its commands. @throws the error of the first that failed */
export async function repliesOf(pipeline: ChainableCommander): Promise<unknown[]> {
  return ((await pipeline.exec()) ?? []).map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}
