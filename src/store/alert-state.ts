import { z } from "zod";
import { parseJson } from "../shared/json.ts";
import type { Store } from "./store.ts";

/*
 * The alerts of a namespace: the hash `:alerts`, alert → JSON of how it stands. One process judges at a time (`elected-sweep.ts`), and
 * only it writes. An alert comes with the first look that finds it true, is `isFiring` from its message to that of its recovery, and is
 * kept until its window is over, so that it is not told twice in it.
 */

/** Kept by the process that judges; of a fleet that no longer has one it goes. */
const ALERTS_TTL_SECONDS = 7 * 86_400;

const stateSchema = z.object({
  /** Since when it is true, in epoch milliseconds; absent while it is not. */
  since: z.number().optional(),
  /** When it was told last. */
  toldAt: z.number().optional(),
  /** It was told, and its recovery was not. */
  isFiring: z.boolean(),
});
export type AlertState = z.infer<typeof stateSchema>;

export async function readAlerts({ redis, keys }: Store): Promise<Map<string, AlertState>> {
  const entries = Object.entries(await redis.hgetall(keys.alerts));
  return new Map(
    entries.flatMap(([alert, json]): [string, AlertState][] => {
      const state = stateSchema.safeParse(parseJson(json));
      return state.success ? [[alert, state.data]] : [];
    }),
  );
}

/** Writes how alerts stand; undefined: nothing need be kept of it. */
export async function saveAlerts(
  { redis, keys }: Store,
  states: ReadonlyMap<string, AlertState | undefined>,
): Promise<void> {
  const pipeline = redis.multi();
  for (const [alert, state] of states) {
    if (state) pipeline.hset(keys.alerts, alert, JSON.stringify(state));
    else pipeline.hdel(keys.alerts, alert);
  }
  await pipeline.expire(keys.alerts, ALERTS_TTL_SECONDS).exec();
}
