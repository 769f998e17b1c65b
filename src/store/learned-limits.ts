import { z } from "zod";
import type { StatedLimits } from "../shared/budget.ts";
import type { Store } from "./store.ts";
import { publish } from "./topics.ts";

/*
 * What the fleet has learned of its limits: the hash `:learned-limits`, budget id → limits per minute (JSON). Whoever
 * learns something takes the budget's guard (`…:guard:<id>`, half a second), writes and tells the fleet; all others read
 * it, at the message `limits:<id>` and every few seconds. What is lost here is written again by those who know it.
 */

/** How long one process has the right to write a budget's limits. */
export const GUARD_MS = 500;

const limit = z.number().positive().optional();
const learnedSchema = z.object({
  rpm: limit,
  tpm: limit,
  itpm: limit,
  otpm: limit,
});

/** Returns what the fleet has learned from the providers' answers: budget id → limits per minute. */
export async function readLearnedLimits(store: Store): Promise<Map<string, StatedLimits>> {
  const entries = Object.entries(await store.redis.hgetall(store.keys.learnedLimits));
  return new Map(entries.flatMap(([id, json]) => toEntry(id, json)));
}

/** Writes a budget's limits and tells the fleet. False, and nothing is written, while another process writes them. */
export async function writeLearnedLimits(store: Store, id: string, limits: StatedLimits): Promise<boolean> {
  const guard = `${store.keys.learnedLimits}:guard:${id}`;
  if (!(await store.redis.set(guard, "1", "PX", GUARD_MS, "NX"))) return false;
  const write = store.redis.multi().hset(store.keys.learnedLimits, { [id]: JSON.stringify(limits) });
  await publish(write, store.keys, "limits", id).exec();
  return true;
}

/** Another version's text is not a fault: the next answer teaches anew. */
function toEntry(id: string, json: string): [string, StatedLimits][] {
  try {
    return [[id, learnedSchema.parse(JSON.parse(json))]];
  } catch {
    return [];
  }
}
