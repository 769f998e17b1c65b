import { type BlobRef, blobRefSchema, MAX_INLINE_BYTES } from "../shared/catalog.ts";
import { sha256 } from "../shared/digest.ts";
import { GlueError } from "../shared/errors.ts";
import { readStored, storedFault } from "../shared/stored-data.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A value whose JSON is larger than 16 KB: a hash at `blob:<sha256 of the JSON>` of `data` and one field per owner, so
 * that equal values are stored once.
 *
 * | from   | to     | by             | who                                                             |
 * |--------|--------|----------------|-----------------------------------------------------------------|
 * | none   | stored | `inlineOrBlob` | whoever writes what refers to it: producers, workers, workflows |
 * | stored | stored | `inlineOrBlob` | one owner more; the longer life counts                          |
 * | stored | stored | `releaseBlob`  | one owner less                                                  |
 * | stored | none   | `releaseBlob`  | of its last owner; or its life is over                          |
 */

/** Longer than any deadline plus the life of a failure's record: a blob without its owner ends by itself. */
const BLOB_TTL_SECONDS = 32 * 86_400;

/**
 * Stores a value for one more owner; another owner's longer life stays.
 * Keys: the blob. Arguments: `data`, the value's JSON; the `owner`'s field; the life that this owner needs. Returns
 * nothing. Called by `inlineOrBlob`. Fence: none; the key is the value's digest, and an owner counts once.
 */
const STORE = new Script({
  keys: ["blob"],
  args: { data: "text", owner: "text", ttlSeconds: "number" },
  lua: `
    redis.call('HSET', blob, 'data', data, owner, '1')
    if redis.call('TTL', blob) < ttlSeconds then redis.call('EXPIRE', blob, ttlSeconds) end
  `,
});

/**
 * Takes an owner away, and the blob with its last one.
 * Keys: the blob. Arguments: the `owner`'s field. Returns nothing. Called by `releaseBlob`. Fence: none; an owner is
 * taken away once.
 */
const RELEASE = new Script({
  keys: ["blob"],
  args: { owner: "text" },
  lua: `
    redis.call('HDEL', blob, owner)
    if redis.call('HLEN', blob) <= 1 then redis.call('DEL', blob) end
  `,
});

/**
 * Returns `value` when its JSON is at most 16 KB and does not look like a reference; else stores it under its digest
 * and returns the reference. A blob goes with its last owner, at the latest `ttlSeconds` (default 32 days) after the
 * latest of them that asked for so long.
 * @param scope with encryption on, values are equal within it alone, such as a tenant; default: within one owner
 */
export async function inlineOrBlob<T>(
  store: Store,
  owner: string,
  value: T,
  ttlSeconds: number | (() => Promise<number>) = BLOB_TTL_SECONDS,
  scope = owner,
): Promise<T | BlobRef> {
  const json = JSON.stringify(value);
  const bytes = Buffer.byteLength(json);
  // Whoever reads it would follow a value of somebody's own that looks like a reference.
  if (bytes <= MAX_INLINE_BYTES && !isBlobRef(value)) return value;
  // Encrypted, equal values are one blob all the same, and who reads Redis cannot tell which, nor what tenants have in common.
  const blob = await store.sealing.digest(sha256(store.sealing.isOn ? `${scope}\n${json}` : json));
  const data = await store.sealing.seal(KIND, blob, json);
  const keys = { blob: store.keys.blob(blob) };
  const life = typeof ttlSeconds === "number" ? ttlSeconds : await ttlSeconds();
  await STORE.run(store.redis, keys, { data, owner: ownerField(owner), ttlSeconds: life });
  return { blob, bytes };
}

/** Returns the bytes of a value's JSON, or of what a reference stands for. */
export function bytesOf(value: unknown): number {
  return isBlobRef(value) ? value.bytes : (JSON.stringify(value)?.length ?? 0);
}

const KIND = "blob";
const WHAT = "a stored request or result";

/** Returns the stored value. @throws GlueError `blob_lost` when Redis no longer has it. */
export async function readBlob(store: Store, ref: BlobRef): Promise<unknown> {
  const text = await readBlobText(store, ref);
  return readStored(WHAT, () => JSON.parse(text));
}

/** Returns the stored value's JSON text. @throws GlueError `blob_lost` when Redis no longer has it. */
export async function readBlobText(store: Store, ref: BlobRef): Promise<string> {
  const json = await store.redis.hget(store.keys.blob(ref.blob), "data").catch((error) => {
    throw storedFault(WHAT, error);
  });
  if (json === null) {
    throw new GlueError({
      code: "blob_lost",
      category: "internal",
      message: "a stored request or result is no longer in Redis",
      hint: "Redis was emptied or evicts keys; enqueue the job again",
    });
  }
  return store.sealing.open(KIND, ref.blob, json);
}

/** `owner` no longer needs the value. Redis keeps it while somebody else does. */
export async function releaseBlob(store: Store, ref: BlobRef, owner: string): Promise<void> {
  await RELEASE.run(store.redis, { blob: store.keys.blob(ref.blob) }, { owner: ownerField(owner) });
}

function ownerField(owner: string): string {
  return `owner:${owner}`;
}

/** True for exactly what `inlineOrBlob` makes: any other key, or a `blob` that is no digest, is somebody's own value. */
export function isBlobRef(value: unknown): value is BlobRef {
  return value instanceof Object && "blob" in value && blobRefSchema.safeParse(value).success;
}
