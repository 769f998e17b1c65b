import type { Redis } from "ioredis";
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
