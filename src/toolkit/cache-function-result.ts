import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { canonicalJson } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";
import { CacheStore } from "../store/cache.ts";
import type { Claim } from "../store/cache-entry.ts";
import { storeOf } from "../store/store.ts";
import { survivesJson } from "./survives-json.ts";

const POLL_MS = 100;

/** Options of a function's cache. */
export interface FunctionCacheOptions<Args extends unknown[]> {
  /** A connection of the caller's own; it stays open. */
  redis: Redis;
  /** The function's name in the cache: results of another name are never taken. */
  name: string;
  /** The namespace, as GLUELLM_NAMESPACE; default `default`. */
  namespace?: string;
  /** The seconds for which a result is kept; default 3,600. */
  ttlSeconds?: number;
  /** Returns what the result hangs on, as JSON; default: all arguments, which must then survive JSON themselves. */
  key?: (...args: Args) => unknown;
  /** The bytes of the namespace's whole cache, as CACHE_SIZE_LIMIT; default 1 GiB. */
  maxBytes?: number;
}

/**
 * Returns `fn` with its results kept in Redis, in the cache that the workers keep answers in. Equal calls at the same
 * time, in whatever process, run it once. Failures are not kept, and no fault of Redis but a lost connection (which is
 * waited for) keeps `fn` from being called.
 *
 * What does not survive JSON is not cached: with such arguments (a Map, a Date, an instance of a class, NaN, a bigint)
 * `fn` is called each time, unless `key` says in JSON what the result hangs on; such a result, or undefined, is
 * returned and not kept. An undefined field of an object counts as absent, and so do undefined arguments at the end.
 */
export function cacheFunctionResult<Args extends unknown[], T>(
  fn: (...args: Args) => Promise<T>,
  options: FunctionCacheOptions<Args>,
): (...args: Args) => Promise<T> {
  const { redis, name, namespace = "default", ttlSeconds = 3600, key, maxBytes = 2 ** 30 } = options;
  const cache = new CacheStore({ store: storeOf(redis, namespace), maxBytes });
  return async (...args) => {
    const keyed = key ? key(...args) : withoutUndefinedEnd(args);
    if (!survivesJson(keyed)) return fn(...args);
    const digest = sha256(canonicalJson({ function: name, key: keyed }));
    const token = randomUUID();
    const claim = await settled(cache, digest, token, ttlSeconds * 1000);
    if (claim.kind === "hit") return JSON.parse(claim.text) as T;
    using _renewal = claim.kind === "lead" ? cache.holdLead(digest, token) : undefined;
    try {
      const result = await fn(...args);
      const kept = survivesJson(result)
        ? cache.keep(digest, token, JSON.stringify(result), ttlSeconds)
        : cache.release(digest, token, "lasting");
      await kept.catch(() => {});
      return result;
    } catch (error) {
      await cache.release(digest, token, "passing").catch(() => {});
      throw error;
    }
  };
}

/** Returns the arguments as the function sees them: `f(1, undefined)` is `f(1)`. */
function withoutUndefinedEnd(args: readonly unknown[]): readonly unknown[] {
  return args.slice(0, args.findLastIndex((arg) => arg !== undefined) + 1);
}

/** Waits for another caller that is at it. */
async function settled(cache: CacheStore, digest: string, token: string, maxAgeMs: number): Promise<Claim> {
  for (;;) {
    const claim = await cache.claim(digest, token, maxAgeMs).catch((): Claim => ({ kind: "alone" }));
    if (claim.kind !== "follow") return claim;
    await delay(POLL_MS);
  }
}
