import { fieldsOf, parseJson } from "../shared/json.ts";
import type { Store } from "./store.ts";

/*
 * How many tokens a provider lets wait in the batches of a model, as its refusals tell: `:lane-pools`, a hash: `entry:model` → JSON
 * of `{tokens, at}`. It has one field for each such model and stays; what is older than a day counts no more, since accounts grow.
 */

const LIFE_MS = 86_400_000;

/** Notes how many tokens a provider lets wait in a model's batches. */
export async function notePool({ redis, keys }: Store, modelKey: string, tokens: number): Promise<void> {
  await redis.hset(keys.lanePools, modelKey, JSON.stringify({ tokens: Math.floor(tokens), at: Date.now() }));
}

/** Returns how many tokens may wait in a model's batches; Infinity where no refusal of the last day told. */
export async function readPool({ redis, keys }: Store, modelKey: string): Promise<number> {
  const { tokens, at } = fieldsOf(parseJson((await redis.hget(keys.lanePools, modelKey)) ?? ""));
  const isFresh = typeof at === "number" && Math.abs(Date.now() - at) < LIFE_MS;
  return isFresh && typeof tokens === "number" ? tokens : Number.POSITIVE_INFINITY;
}
