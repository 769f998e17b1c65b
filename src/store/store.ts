import type { Redis } from "ioredis";
import type { Logger } from "../shared/logger.ts";
import { connectRedis, type RedisTarget } from "./redis.ts";
import { type RedisKeys, redisKeys } from "./redis-keys.ts";

/** One namespace in one Redis: the connection that its commands go over, and the names of its keys. */
export interface Store {
  readonly redis: Redis;
  readonly keys: RedisKeys;
}

/** Returns the store of `namespace` over `redis`, which stays its owner's to close. */
export function storeOf(redis: Redis, namespace: string): Store {
  return { redis, keys: redisKeys(namespace) };
}

/** Returns the store of `namespace` over a new connection to `target`; whoever opens it disconnects `redis`. */
export function openStore(target: RedisTarget, namespace: string, logger: Logger): Store {
  return storeOf(connectRedis(target, logger), namespace);
}
