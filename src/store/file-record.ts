import { z } from "zod";
import { fileCheckSchema } from "../shared/file-check.ts";
import { readStored } from "../shared/stored-data.ts";
import { DEFAULT_TENANT, isOwnedBy, ownerFields, storedOwner } from "../shared/tenant.ts";
import { repliesOf } from "./redis.ts";
import { Script } from "./script.ts";
import { openFields, sealFields } from "./sealed-fields.ts";
import type { Store } from "./store.ts";

/*
 * A file of the API: a hash at `file:<id>`, whose bytes a file store keeps under the same id. Ids sort by time; each tenant's
 * stand in the sorted set `files:<tenant>`, all with their expiry in `file-expiries`.
 *
 * | from    | to      | by              | who                                                                              |
 * |---------|---------|-----------------|----------------------------------------------------------------------------------|
 * | none    | there   | `saveFile`      | the API after an upload, a batch's host at its end: the bytes are stored before  |
 * | there   | there   | `keepFileUntil` | a schedule whose batches read it: it lives longer                                |
 * | there   | none    | `deleteFile`    | its owner, or the sweep after its expiry: the bytes go after that                |
 * | there   | expired | –               | its `expiresAt` has passed: nobody gets it any more                              |
 */

/** The files of no other purpose may be the input of a batch. */
export const FILE_PURPOSES = [
  "assistants",
  "batch",
  "batch_output",
  "evals",
  "fine-tune",
  "user_data",
  "vision",
] as const;

/** The life of a file that is given none. */
export const FILE_LIFE_SECONDS = 30 * 86_400;
/** Expired files that are looked at at a time. */
const PAGE = 100;
/** A record outlives its file: the sweep still has to know whose bytes it deletes. */
const SWEEP_MS = 30 * 86_400_000;

const fileRecordSchema = z.object({
  id: z.string(),
  ...ownerFields,
  filename: z.string(),
  purpose: z.enum(FILE_PURPOSES),
  bytes: z.coerce.number(),
  sha256: z.string(),
  /** Of an input of batches. */
  check: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(fileCheckSchema)
    .optional(),
  /** Epoch milliseconds, as all times here. */
  createdAt: z.coerce.number(),
  expiresAt: z.coerce.number(),
});
export type FileRecord = z.infer<typeof fileRecordSchema>;

const KIND = "file record";
/** What is encrypted of a record: by a digest one could see whether a file is a certain one. */
const CONTENTS = ["filename", "sha256", "check"];

/** Writes the record of a file whose bytes are stored; the same once more changes nothing. */
export async function saveFile(store: Store, record: FileRecord): Promise<void> {
  const { redis, keys } = store;
  const { id, tenant, by, check, ...others } = record;
  const described = { ...others, ...(check && { check: JSON.stringify(check) }) };
  const fields = await sealFields(store, { kind: KIND, id }, described, (name) => !CONTENTS.includes(name));
  const transaction = redis
    .multi()
    .hset(keys.file(id), {
      id,
      ...storedOwner({ tenant, by }),
      ...fields,
    })
    .pexpireat(keys.file(id), record.expiresAt + SWEEP_MS)
    .zadd(keys.files(tenant ?? "default"), 0, id)
    .zadd(keys.fileExpiries, record.expiresAt, id);
  await repliesOf(transaction);
}

/** Returns a file of a tenant; undefined when there is none, also when it has expired. @throws GlueError `corrupt_data` */
export async function readFile(store: Store, id: string, tenant: string): Promise<FileRecord | undefined> {
  const fields = await store.redis.hgetall(store.keys.file(id));
  if (fields.id === undefined) return undefined;
  const opened = await openFields(store, { kind: KIND, id }, fields);
  const record = readStored(`the record of ${id}`, () => fileRecordSchema.parse(opened));
  return isOwnedBy(tenant, record) && record.expiresAt > Date.now() ? record : undefined;
}

/**
 * Lengthens a file's life. Keys: the file, the expiries. Arguments: the `id`; `endMs`, until when it is to live at least.
 * Returns: 1, or 0 when there is no record. Called by `keepFileUntil`. Fence: a file that was deleted stays so.
 */
const KEEP = new Script({
  keys: ["file", "expiries"],
  args: { id: "text", endMs: "number" },
  lua: `
    local expiresAt = redis.call('HGET', file, 'expiresAt')
    if not expiresAt then return 0 end
    if tonumber(expiresAt) < endMs then
      redis.call('HSET', file, 'expiresAt', string.format('%.0f', endMs))
      redis.call('PEXPIREAT', file, string.format('%.0f', endMs + ${SWEEP_MS}))
      redis.call('ZADD', expiries, string.format('%.0f', endMs), id)
    end
    return 1
  `,
});

/** Lets a file of a tenant live until then at least. Returns false when there is none. */
export async function keepFileUntil(
  store: Store,
  id: string,
  tenant: string | undefined,
  until: number,
): Promise<boolean> {
  if (!(await readFile(store, id, tenant ?? DEFAULT_TENANT))) return false;
  const { redis, keys } = store;
  const kept = { file: keys.file(id), expiries: keys.fileExpiries };
  return (await KEEP.run(redis, kept, { id, endMs: until })) === 1;
}

export interface FileList {
  tenant: string;
  order: "asc" | "desc";
  limit: number;
  /** The last id of the page before. */
  after?: string | undefined;
  purpose?: string | undefined;
}

/** Returns a page of a tenant's files by the time of their making, and whether there are more. */
export async function listFiles(
  store: Store,
  list: FileList,
): Promise<{ files: FileRecord[]; hasMore: boolean }> {
  const { order, limit, purpose, tenant } = list;
  const { redis, keys } = store;
  const key = keys.files(tenant);
  const files: FileRecord[] = [];
  for (let { after } = list; ; ) {
    const start = after === undefined ? (order === "asc" ? "-" : "+") : `(${after}`;
    const ids =
      order === "asc"
        ? await redis.zrangebylex(key, start, "+", "LIMIT", 0, PAGE)
        : await redis.zrevrangebylex(key, start, "-", "LIMIT", 0, PAGE);
    const found = await Promise.all(ids.map((id) => readFile(store, id, tenant)));
    for (const file of found) {
      if (!file || (purpose !== undefined && file.purpose !== purpose)) continue;
      if (files.length === limit) return { files, hasMore: true };
      files.push(file);
    }
    if (ids.length < PAGE) return { files, hasMore: false };
    after = ids.at(-1);
  }
}

/** Forgets a file. */
export async function deleteFile(
  { redis, keys }: Store,
  { id, tenant }: Pick<FileRecord, "id" | "tenant">,
): Promise<void> {
  const transaction = redis
    .multi()
    .del(keys.file(id))
    .zrem(keys.files(tenant ?? "default"), id)
    .zrem(keys.fileExpiries, id);
  await repliesOf(transaction);
}

/** Forgets up to 100 files that have expired and are not in use. Returns their ids, whose bytes can go. */
export async function forgetExpiredFiles(store: Store, inUse: ReadonlySet<string>): Promise<string[]> {
  const { redis, keys } = store;
  const ids = await redis.zrangebyscore(keys.fileExpiries, "-inf", Date.now(), "LIMIT", 0, PAGE + inUse.size);
  const expired = ids.filter((id) => !inUse.has(id));
  for (const id of expired) {
    const tenant = (await redis.hget(keys.file(id), "tenant")) ?? undefined;
    await deleteFile(store, { id, tenant });
  }
  return expired;
}

/** Returns those of the ids that no record has. */
export async function unknownFiles({ redis, keys }: Store, ids: readonly string[]): Promise<string[]> {
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.exists(keys.file(id));
  const known = ids.length === 0 ? [] : await repliesOf(pipeline);
  return ids.filter((_, i) => known[i] === 0);
}
