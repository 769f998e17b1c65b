import type { Redis } from "ioredis";
import { keysUnder, type RedisKeys, redisKeys } from "./redis-keys.ts";

/** One namespace in one Redis: the connection that its commands go over, and the names of its keys. */
export interface Store {
  readonly redis: Redis;
  readonly keys: RedisKeys;
}

/** Returns the store of `namespace` over `redis`, which stays its owner's to close. */
export function storeOf(redis: Redis, namespace: string): Store {
  return { redis, keys: redisKeys(namespace) };
}

/** Returns a store over `redis` whose keys begin with `keyPrefix`, for parts that are used without a namespace. */
export function storeUnder(redis: Redis, keyPrefix: string): Store {
  return { redis, keys: keysUnder(keyPrefix) };
}
