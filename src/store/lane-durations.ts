import { parseJson } from "../shared/json.ts";
import type { Store } from "./store.ts";

/*
 * How long provider batches took: `:lane-durations`, a hash: `entry:model` → JSON of the latest ones in milliseconds, negative for
 * one that ended unfinished: it would have taken longer. The fleet plans by it; it has one field for each model and stays.
 */

const KEPT = 50;

/** Notes how long a batch of a model took; negative: it ended unfinished after so long. */
export async function noteDuration(store: Store, modelKey: string, durationMs: number): Promise<void> {
  const known = await readDurations(store, modelKey);
  const next = JSON.stringify([...known, Math.round(durationMs)].slice(-KEPT));
  await store.redis.hset(store.keys.laneDurations, modelKey, next);
}

/** Returns how long the latest batches of a model took, in milliseconds. */
export async function readDurations({ redis, keys }: Store, modelKey: string): Promise<number[]> {
  const known = parseJson((await redis.hget(keys.laneDurations, modelKey)) ?? "[]");
  return Array.isArray(known) ? known.filter((one) => typeof one === "number") : [];
}
