import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { z } from "zod";
import { ConfigurationError, GlueError } from "../shared/errors.ts";
import { readStored } from "../shared/stored-data.ts";
import type { KeyRing, KeyWrapper } from "./key-ring.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { Script } from "./script.ts";

/*
 * The keys that a namespace's contents are encrypted with: a hash at `:encryption-keys`, field → the key, wrapped by a key of
 * the ring (JSON). `key:<id>` encrypts contents; `current:<ring key>` is the id of the one that processes write with whose
 * ring begins with that key; `digest` makes HMACs of digests.
 *
 * | from         | to                     | by         | who                                                         |
 * |--------------|------------------------|------------|-------------------------------------------------------------|
 * | none         | wrapped by a ring key  | `dataKey`  | the first process that writes with this ring key            |
 * | wrapped by A | wrapped by the first   | `rewrap`   | `gluellm keys rotate-encryption`; the key itself stays      |
 *
 * Nothing takes a key away: what it has encrypted could not be read.
 */

const KEY_BYTES = 32;
const MAX_SAID_CHARS = 200;
const wrappedSchema = z.object({ ring: z.string(), wrapped: z.string(), createdAt: z.number() });
type Wrapped = z.infer<typeof wrappedSchema>;

/**
 * Keeps a field of the hash, unless it stands. Keys: the data keys. Arguments: the `field`, its `value`; `pointer`, a field that
 * is to have `target`, or empty. Returns: the value of the pointer, or of the field. Called by who finds none. Fence: the first one stays.
 */
const ADD = new Script({
  keys: ["dataKeys"],
  args: { field: "text", value: "text", pointer: "text", target: "text" },
  lua: `
    if pointer ~= '' then
      local standing = redis.call('HGET', dataKeys, pointer)
      if standing then return standing end
      redis.call('HSET', dataKeys, pointer, target)
    end
    redis.call('HSETNX', dataKeys, field, value)
    return pointer ~= '' and target or redis.call('HGET', dataKeys, field)
  `,
});

/**
 * Replaces a wrapped key. Keys: the data keys. Arguments: the `field`, what it has `before` and `after`. Returns: 1, or 0 when it
 * has changed. Called by `rewrap`. Fence: the field is as it was read.
 */
const REPLACE = new Script({
  keys: ["dataKeys"],
  args: { field: "text", before: "text", after: "text" },
  lua: `
    if redis.call('HGET', dataKeys, field) ~= before then return 0 end
    redis.call('HSET', dataKeys, field, after)
    return 1
  `,
});

/** Where a namespace's data keys are, and what unwraps them. */
export interface DataKeyPlace {
  redis: Redis;
  keys: RedisKeys;
  /** Undefined: this process has no key. */
  ring: KeyRing | undefined;
}

/** Returns the id of the data key that this process writes with, and makes it when there is none. */
export async function currentDataKey(place: DataKeyPlace, first: KeyWrapper): Promise<string> {
  const { redis, keys } = place;
  const pointer = `current:${first.id}`;
  const known = await redis.hget(keys.encryptionKeys, pointer);
  if (known !== null) return known;
  const id = randomBytes(6).toString("hex");
  const value = await wrapNew(place, first, `key:${id}`);
  const args = { field: `key:${id}`, value, pointer, target: id };
  return String(await ADD.run(redis, { dataKeys: keys.encryptionKeys }, args));
}

/**
 * Returns a data key by its field.
 * @throws GlueError `encryption_key_missing` when it is wrapped by a key that this process lacks, `corrupt_data` when there is none
 */
export async function readDataKey(place: DataKeyPlace, field: string): Promise<Uint8Array> {
  const text = await place.redis.hget(place.keys.encryptionKeys, field);
  if (text === null) throw lostKey();
  return unwrapKey(place, field, text);
}

/** Returns the key of HMACs; undefined when there is none. @param maker makes it in that case */
export async function readDigestKey(
  place: DataKeyPlace,
  maker: KeyWrapper | undefined,
): Promise<Uint8Array | undefined> {
  const { redis, keys } = place;
  const field = "digest";
  let text = await redis.hget(keys.encryptionKeys, field);
  if (text === null && maker) {
    const args = { field, value: await wrapNew(place, maker, field), pointer: "", target: "" };
    text = String(await ADD.run(redis, { dataKeys: keys.encryptionKeys }, args));
  }
  return text === null ? undefined : unwrapKey(place, field, text);
}

/** How far a rotation is: of so many data keys so many are wrapped by the first key of the ring. */
export interface RotationProgress {
  done: number;
  total: number;
}

/**
 * Wraps every data key by the first key of the ring: no other one is needed after it. One that is interrupted goes on where it was.
 * @throws GlueError `encryption_key_missing` when a key is needed that the ring lacks
 */
export async function rewrap(
  place: DataKeyPlace & { ring: KeyRing },
  onProgress: (progress: RotationProgress) => void,
): Promise<RotationProgress & { rewrapped: number }> {
  const { redis, keys, ring } = place;
  const first = ring.wrappers[0] as KeyWrapper;
  const all = Object.entries(await redis.hgetall(keys.encryptionKeys));
  const wrapped = all.filter(([field]) => !field.startsWith("current:"));
  let rewrapped = 0;
  for (const [n, [field, text]] of wrapped.entries()) {
    if (readWrapped(text).ring !== first.id) {
      const value = await wrapKey(place, first, field, await unwrapKey(place, field, text));
      const args = { field, before: text, after: value };
      rewrapped += Number(await REPLACE.run(redis, { dataKeys: keys.encryptionKeys }, args));
    }
    onProgress({ done: n + 1, total: wrapped.length });
  }
  return { rewrapped, done: wrapped.length, total: wrapped.length };
}

async function wrapNew(place: DataKeyPlace, wrapper: KeyWrapper, field: string): Promise<string> {
  return wrapKey(place, wrapper, field, randomBytes(KEY_BYTES));
}

async function wrapKey(
  place: DataKeyPlace,
  wrapper: KeyWrapper,
  field: string,
  key: Uint8Array,
): Promise<string> {
  try {
    const wrapped = await wrapper.wrap(key, aboutOf(place, field));
    return JSON.stringify({ ring: wrapper.id, wrapped, createdAt: Date.now() } satisfies Wrapped);
  } catch (error) {
    throw unusableKey(wrapper.id, "does not encrypt now", error);
  }
}

async function unwrapKey(place: DataKeyPlace, field: string, text: string): Promise<Uint8Array> {
  const { ring, wrapped } = readWrapped(text);
  const wrapper = place.ring?.wrappers.find(({ id }) => id === ring);
  if (!wrapper) throw missingKey(ring);
  try {
    return await wrapper.unwrap(wrapped, aboutOf(place, field));
  } catch (error) {
    throw unusableKey(ring, "does not decrypt what was encrypted under that id", error);
  }
}

function readWrapped(text: string): Wrapped {
  return readStored("a data key of the encryption", () => wrappedSchema.parse(JSON.parse(text)));
}

function aboutOf({ keys }: DataKeyPlace, field: string): string {
  return `${keys.prefix}|data key|${field}`;
}

export const KEY_MISSING = "encryption_key_missing";

function missingKey(id: string): GlueError {
  return new ConfigurationError(
    `what is stored is encrypted under the key "${id}", which this process does not have`,
    "add it to GLUELLM_ENCRYPTION_KEYS, behind the key that is to encrypt",
    KEY_MISSING,
  );
}

/** Of a KMS, what it said is told too. */
function unusableKey(id: string, what: string, error: unknown): GlueError {
  const said = String((error as Error)?.message ?? error).slice(0, MAX_SAID_CHARS);
  return new ConfigurationError(
    `the key "${id}" ${what}: ${said}`,
    "give the key that had this id before, or ask the KMS; a new key needs an id of its own",
    KEY_MISSING,
  );
}

/** Returns the error of data keys that are gone. */
export function lostKey(): GlueError {
  return new GlueError({
    code: "corrupt_data",
    category: "internal",
    message: "what is stored is encrypted, and its data key is no longer in Redis",
    hint: "restore the hash encryption-keys of the namespace from a backup",
  });
}
