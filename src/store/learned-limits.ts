import { z } from "zod";
import type { StatedLimits } from "../shared/budget.ts";
import type { Store } from "./store.ts";
import { publish } from "./topics.ts";

const limit = z.number().positive().optional();
const learnedSchema = z.object({
  rpm: limit,
  tpm: limit,
  itpm: limit,
  otpm: limit,
});

/** What the fleet has learned from the providers' answers: budget id → limits per minute. */
export async function readLearnedLimits(store: Store): Promise<Map<string, StatedLimits>> {
  const entries = Object.entries(await store.redis.hgetall(store.keys.learnedLimits));
  return new Map(entries.flatMap(([id, json]) => toEntry(id, json)));
}

export async function writeLearnedLimits(store: Store, id: string, limits: StatedLimits): Promise<void> {
  const write = store.redis.multi().hset(store.keys.learnedLimits, { [id]: JSON.stringify(limits) });
  await publish(write, store.keys, "limits", id).exec();
}

/** Another version's text is not a fault: the next answer teaches anew. */
function toEntry(id: string, json: string): [string, StatedLimits][] {
  try {
    return [[id, learnedSchema.parse(JSON.parse(json))]];
  } catch {
    return [];
  }
}
