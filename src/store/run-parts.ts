import type { RunJournalEntry } from "./run-journal.ts";
import { partTtlSeconds } from "./run-record.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/**
 * Lengthens lives. Keys: any. Arguments: the life in seconds. Returns nothing. Called by `renewRunParts`. Fence: none; what lives
 * longer, or for ever, stays so, and what is gone stays gone.
 */
const RENEW = new Script({
  keys: [],
  args: { ttlSeconds: "number" },
  moreKeys: "parts",
  lua: `
    for _, key in ipairs(parts) do
      local ttl = redis.call('TTL', key)
      if ttl >= 0 and ttl < ttlSeconds then redis.call('EXPIRE', key, ttlSeconds) end
    end
  `,
});

/** Records read, and lives lengthened, at a time. */
const CHUNK = 200;
const BLOB_REF = /"blob":"([0-9a-f]{64})"/g;

/** Lets what entries of a run's journal refer to live as long as the run, whose deadline has become a later one. */
export async function renewRunParts(
  store: Store,
  journal: readonly RunJournalEntry[],
  deadlineAt: number,
): Promise<void> {
  const { redis, keys } = store;
  const ttlSeconds = partTtlSeconds(deadlineAt, Date.now());
  for (let i = 0; i < journal.length; i += CHUNK) {
    const chunk = journal.slice(i, i + CHUNK);
    const results = chunk.flatMap((entry) =>
      entry.type === "asked" && entry.kind === "completion" && entry.job ? [keys.result(entry.job)] : [],
    );
    const records = results.length > 0 ? await redis.mget(results) : [];
    const texts = [...records, JSON.stringify(chunk)].join("\n");
    const blobs = [...texts.matchAll(BLOB_REF)].map(([, digest = ""]) => keys.blob(digest));
    await RENEW.run(redis, {}, { ttlSeconds }, { keys: [...results, ...blobs] });
  }
}
