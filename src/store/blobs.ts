import { type BlobRef, blobRefSchema, MAX_INLINE_BYTES } from "../shared/catalog.ts";
import { sha256 } from "../shared/digest.ts";
import { GlueError } from "../shared/errors.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

/** Longer than any deadline plus the life of a failure's record: a blob without its owner ends by itself. */
const BLOB_TTL_SECONDS = 32 * 86_400;

/** Another owner's longer life stays. */
const STORE = new RedisScript(`
  local key = KEYS[1]
  local data, owner, ttl = unpack(ARGV)
  redis.call('HSET', key, 'data', data, owner, '1')
  if redis.call('TTL', key) < tonumber(ttl) then redis.call('EXPIRE', key, ttl) end
`);

const RELEASE = new RedisScript(`
  redis.call('HDEL', KEYS[1], ARGV[1])
  if redis.call('HLEN', KEYS[1]) <= 1 then redis.call('DEL', KEYS[1]) end
`);

/**
 * Keeps `value` inline when its JSON is at most 16 KB and does not look like a reference, else stores it under its
 * digest. A blob is a hash of `data` and one field per owner, so that equal values are stored once and go with their
 * last owner, or `ttlSeconds` (default 32 days) after the latest of them that asked for so long.
 */
export async function inlineOrBlob<T>(
  store: Store,
  owner: string,
  value: T,
  ttlSeconds = BLOB_TTL_SECONDS,
): Promise<T | BlobRef> {
  const json = JSON.stringify(value);
  const bytes = Buffer.byteLength(json);
  // Whoever reads it would follow a value of somebody's own that looks like a reference.
  if (bytes <= MAX_INLINE_BYTES && !isBlobRef(value)) return value;
  const blob = sha256(json);
  await STORE.run(store.redis, [store.keys.blob(blob)], [json, `owner:${owner}`, ttlSeconds]);
  return { blob, bytes };
}

/** @throws GlueError `blob_lost` when Redis no longer has it. */
export async function readBlob(store: Store, ref: BlobRef): Promise<unknown> {
  const json = await store.redis.hget(store.keys.blob(ref.blob), "data");
  if (json === null) {
    throw new GlueError({
      code: "blob_lost",
      category: "internal",
      message: "a stored request or result is no longer in Redis",
      hint: "Redis was emptied or evicts keys; enqueue the job again",
    });
  }
  return JSON.parse(json);
}

export async function releaseBlob(store: Store, ref: BlobRef, owner: string): Promise<void> {
  await RELEASE.run(store.redis, [store.keys.blob(ref.blob)], [`owner:${owner}`]);
}

/** Exactly what `inlineOrBlob` makes: any other key, or a `blob` that is no digest, is somebody's own value. */
export function isBlobRef(value: unknown): value is BlobRef {
  return blobRefSchema.safeParse(value).success;
}
