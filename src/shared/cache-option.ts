import { z } from "zod";

export const MAX_CACHE_TTL_SECONDS = 30 * 86_400;

export const cacheOptionSchema = z.union([
  z.boolean(),
  z.strictObject({ ttlSeconds: z.int().min(1).max(MAX_CACHE_TTL_SECONDS) }),
]);
/**
 * Of a call's answer. True: an equal request's answer will do, and this one is kept for others. `ttlSeconds` (at most 30
 * days): so too, but none older than that. False: neither.
 */
export type CacheOption = z.infer<typeof cacheOptionSchema>;
