import { z } from "zod";
import type { StatedLimits } from "../shared/budget.ts";
import type { Store } from "./store.ts";
import { publish } from "./topics.ts";

/*
 * What the fleet has learned of its limits: the hash `:learned-limits`, budget id → limits per minute (JSON), and of providers that state
 * none the hash `…:accepted`, budget id → calls that were accepted. Whoever
 * learns something takes the budget's guard (`…:guard:<id>`, half a second), writes and tells the fleet; all others read
 * it, at the message `limits:<id>` and every few seconds. What is lost here is written again by those who know it.
 */

/** How long one process has the right to write a budget's limits. */
export const GUARD_MS = 500;

const limit = z.number().positive().optional();
/** What a provider that states nothing seems to bear. All times are epoch milliseconds by the clock of Redis. */
const guessSchema = z.object({
  /** Calls that it accepts, at the last refusal. */
  perMinute: z.number().positive(),
  /** From how many refusals that was concluded. */
  refusals: z.number(),
  refusedAt: z.number(),
  /** The calls of the fleet that it had accepted until then. */
  accepted: z.number(),
  /** When the rate was looked at last. */
  raisedAt: z.number(),
  /** How long the rate was used to the full since the refusal, and after how long the whole of it is used. */
  heldMs: z.number(),
  holdMs: z.number().positive(),
  /** Refusals in a row after `refusedAt` before which nothing was accepted. */
  empties: z.number(),
  /** Rates in a row that were refused although less was used. */
  misses: z.number(),
});
export type Guess = z.infer<typeof guessSchema>;

/** Limits per minute; `guess` where `rpm` is no more than that. */
export interface LearnedLimits extends StatedLimits {
  guess?: Guess | undefined;
}

const learnedSchema = z.object({
  guess: guessSchema.optional(),
  rpm: limit,
  tpm: limit,
  itpm: limit,
  otpm: limit,
});

/** Returns what the fleet has learned from the providers' answers: budget id → limits per minute. */
export async function readLearnedLimits(store: Store): Promise<Map<string, LearnedLimits>> {
  const entries = Object.entries(await store.redis.hgetall(store.keys.learnedLimits));
  return new Map(entries.flatMap(([id, json]) => toEntry(id, json)));
}

/** Writes a budget's limits and tells the fleet. False, and nothing is written, while another process writes them. */
export async function writeLearnedLimits(store: Store, id: string, limits: LearnedLimits): Promise<boolean> {
  const guard = `${store.keys.learnedLimits}:guard:${id}`;
  if (!(await store.redis.set(guard, "1", "PX", GUARD_MS, "NX"))) return false;
  const write = store.redis.multi().hset(store.keys.learnedLimits, { [id]: JSON.stringify(limits) });
  await publish(write, store.keys, "limits", id).exec();
  return true;
}

/** Adds to the calls that a provider without limits has accepted of a budget. Returns how many the fleet has had of it. */
export function countAccepted({ redis, keys }: Store, id: string, calls: number): Promise<number> {
  return redis.hincrby(`${keys.learnedLimits}:accepted`, id, calls);
}

/** Another version's text is not a fault: the next answer teaches anew. */
function toEntry(id: string, json: string): [string, LearnedLimits][] {
  try {
    return [[id, learnedSchema.parse(JSON.parse(json))]];
  } catch {
    return [];
  }
}
