import type { Redis } from "ioredis";
import { z } from "zod";
import { readStored } from "../shared/stored-data.ts";
import { isBlobRef, readBlobText } from "./blobs.ts";
import { redisKeys } from "./redis-keys.ts";
import { openRunFields } from "./run-fields.ts";
import { readRunJournal } from "./run-journal.ts";
import { plainStore, type Store } from "./store.ts";
import { plainRecordText } from "./stored-record.ts";

/*
 * What Redis has of a run, read once: its record, its journal, the answers and large values that these refer to. It can be
 * kept in a file; nothing here writes to Redis.
 */

const snapshotSchema = z.object({
  v: z.literal(1),
  id: z.string(),
  /** The fields of the run's record. */
  record: z.record(z.string(), z.string()),
  /** Its journal, each entry as JSON. */
  journal: z.array(z.string()),
  /** The result records of its completions, as JSON by the job's id. */
  results: z.record(z.string(), z.string()),
  /** Values of more than 16 KB, as JSON by their digest. */
  blobs: z.record(z.string(), z.string()),
});
/** A run as it stood in Redis. */
export type RunSnapshot = z.infer<typeof snapshotSchema>;

/** Result records that are read at a time. */
const CHUNK = 100;
const NAMESPACE = "snapshot";

/** Returns what Redis has of a run; undefined when there is none of this id (any more). */
export async function readRunSnapshot(store: Store, id: string): Promise<RunSnapshot | undefined> {
  const { redis, keys } = store;
  const stored = await redis.hgetall(keys.workflow(id));
  if (stored.id === undefined) return undefined;
  const record = await openRunFields(store, id, stored);
  const entries = await readRunJournal(store, id);
  const jobs = entries.flatMap((entry) =>
    entry.type === "asked" && entry.kind !== "child" && entry.job ? entry.job : [],
  );
  const snapshot: RunSnapshot = {
    ...{ v: 1, id, record, results: {}, blobs: {} },
    journal: entries.map((entry) => JSON.stringify(entry)),
  };
  for (let i = 0; i < jobs.length; i += CHUNK) {
    const chunk = jobs.slice(i, i + CHUNK);
    const found = await redis.mget(chunk.map((job) => keys.result(job)));
    for (const [n, job] of chunk.entries()) {
      const text = found[n];
      if (text) snapshot.results[job] = await plainRecordText(store, job, text);
    }
  }
  const texts = [...Object.values(record), ...snapshot.journal, ...Object.values(snapshot.results)];
  for (const digest of new Set(texts.flatMap(blobsIn))) {
    const data = await redis.hget(keys.blob(digest), "data");
    if (data !== null) snapshot.blobs[digest] = await readBlobText(store, { blob: digest, bytes: 0 });
  }
  return snapshot;
}

/** Returns a snapshot that was kept as JSON. @throws GlueError `corrupt_data` */
export function parseRunSnapshot(text: string, what: string): RunSnapshot {
  return readStored(what, () => snapshotSchema.parse(JSON.parse(text)));
}

/** Returns a store that answers the reads of a run from its snapshot, and takes no writes. */
export function snapshotStore({ id, record, journal, results, blobs }: RunSnapshot): Store {
  const keys = redisKeys(NAMESPACE);
  const texts = new Map(Object.entries(results).map(([job, text]) => [keys.result(job), text]));
  const hashes = new Map([
    [keys.workflow(id), record],
    ...Object.entries(blobs).map(([digest, data]) => [keys.blob(digest), { data }] as const),
  ]);
  const reads = {
    hgetall: async (key: string) => hashes.get(key) ?? {},
    hget: async (key: string, field: string) => hashes.get(key)?.[field] ?? null,
    mget: async (wanted: readonly string[]) => wanted.map((key) => texts.get(key) ?? null),
    lrange: async (key: string, start: number, stop: number) =>
      key === keys.workflowJournal(id) ? journal.slice(start, stop + 1) : [],
  };
  return plainStore(reads as unknown as Redis, keys);
}

/** The digests of the large values that a JSON text refers to. */
function blobsIn(text: string): string[] {
  if (!text.includes('"blob":')) return [];
  const found: string[] = [];
  JSON.parse(text, (_key, value: unknown) => {
    if (isBlobRef(value)) found.push(value.blob);
    return value;
  });
  return found;
}
