import { type ChainableCommander, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { redisFault } from "./redis-fault.ts";
import type { RedisTarget } from "./redis-target.ts";
import { slotConnector } from "./slot-connector.ts";

/** The server is no primary any more, or does not have the slot: another one has taken over. */
const TAKEN_OVER = /^(READONLY|MOVED|CLUSTERDOWN|MASTERDOWN)\b/;
/** What is never part of a transaction, and so may be sent once more by itself: it was refused, so that it has done nothing. */
const SENT_AGAIN = new Set([
  "evalsha",
  "eval",
  "get",
  "hget",
  "hgetall",
  "hmget",
  "exists",
  "zrange",
  "xread",
]);

/** Returns a connection to a target. That to a group follows its primary. */
export function newRedis(target: RedisTarget, options: RedisOptions): Redis {
  if ("url" in target) return new Redis(target.url, options);
  if ("socketPath" in target) return new Redis({ ...options, path: target.socketPath });
  const { group, slotKey } = target;
  const { username, password, isTls } = group;
  const shared: RedisOptions = {
    ...options,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(isTls && { tls: {} }),
    reconnectOnError: (error: Error & { command?: { name?: string } }) =>
      TAKEN_OVER.test(error.message) && (SENT_AGAIN.has(error.command?.name ?? "") ? 2 : 1),
  };
  if (group.kind === "cluster") return new Redis({ ...shared, Connector: slotConnector(group, slotKey) });
  const { name = "", database = 0, sentinelUsername, sentinelPassword } = group;
  return new Redis({
    ...shared,
    sentinels: group.hosts.map((host) => ({ ...host })),
    name,
    db: database,
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(isTls && { enableTLSForSentinelMode: true, sentinelTLS: {} }),
    ...(options.retryStrategy && { sentinelRetryStrategy: options.retryStrategy }),
    sentinelCommandTimeout: 5000,
  });
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
  const redis = newRedis(target, base);
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
