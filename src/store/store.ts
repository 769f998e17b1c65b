import type { Redis } from "ioredis";
import type { Redact } from "../shared/redact.ts";
import type { KeyRing } from "./key-ring.ts";
import { keysUnder, type RedisKeys, redisKeys } from "./redis-keys.ts";
import { Sealing } from "./sealing.ts";

/** One namespace in one Redis: the connection that its commands go over, the names of its keys, and what encrypts its contents. */
export interface Store {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly sealing: Sealing;
  /** What people read later of contents passes it before it is stored; undefined: as it is. */
  readonly redact: Redact | undefined;
}

/**
 * Returns the store of `namespace` over `redis`, which stays its owner's to close.
 * @param ring undefined: encryption is off @param redact undefined: redaction is
 */
export function storeOf(redis: Redis, namespace: string, ring?: KeyRing, redact?: Redact): Store {
  const keys = redisKeys(namespace);
  return { redis, keys, sealing: new Sealing(redis, keys, ring), redact };
}

/** Returns a store over `redis` whose keys begin with `keyPrefix`, for parts that are used without a namespace. */
export function storeUnder(redis: Redis, keyPrefix: string): Store {
  return plainStore(redis, keysUnder(keyPrefix));
}

/** Returns a store that encrypts and redacts nothing. */
export function plainStore(redis: Redis, keys: RedisKeys): Store {
  return { redis, keys, sealing: new Sealing(redis, keys, undefined), redact: undefined };
}
