import { z } from "zod";
import { parseJson } from "../shared/json.ts";
import { Script } from "./script.ts";
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

/** Longer than a look can take that another process has overtaken. */
const CLAIM_MS = 60_000;

/**
 * Claims a message. Keys: the alert's claim. Arguments: `state`, which the message tells; how long the claim holds. Returns: whether it
 * is this caller's. Called before an alert is told. Fence: the first one for a state has it; who dies then loses it by time.
 */
const CLAIM = new Script({
  keys: ["claim"],
  args: { state: "text", ms: "number" },
  lua: `
    if redis.call('GET', claim) == state then return 0 end
    redis.call('SET', claim, state, 'PX', ms)
    return 1
  `,
});

/**
 * Returns whether this process may tell that an alert begins or ends: another one that is at it, or was just now, has claimed it. A
 * process may stand still while it looks, and the next one look meanwhile.
 */
export async function claimAlert(
  { redis, keys }: Store,
  alert: string,
  { state, repeatMs }: { state: "firing" | "resolved"; repeatMs: number },
): Promise<boolean> {
  const ms = Math.ceil(Math.max(1, Math.min(CLAIM_MS, repeatMs)));
  return (await CLAIM.run(redis, { claim: keys.alertClaim(alert) }, { state, ms })) === 1;
}

/** Gives an alert back that was claimed and could not be told. */
export async function releaseAlert({ redis, keys }: Store, alert: string): Promise<void> {
  await redis.del(keys.alertClaim(alert));
}

interface StoredAlert {
  state: AlertState;
  /** By which Redis has it. */
  text: string;
}

/** Returns how alerts stand. What cannot be read is as if it had not been told. */
export async function readAlerts({ redis, keys }: Store): Promise<Map<string, StoredAlert>> {
  const entries = Object.entries(await redis.hgetall(keys.alerts));
  return new Map(
    entries.map(([alert, text]) => {
      const { data: state = { isFiring: false } } = stateSchema.safeParse(parseJson(text));
      return [alert, { state, text }];
    }),
  );
}

/**
 * Writes how alerts stand. Keys: the hash of alerts. Arguments: its life; then of each alert its name, the text that was read of it (empty: none) and the new one
 * (empty: none is needed). Returns nothing. Called after each look. Fence: the text that was read: a process that stood still while it
 * looked would write that an alert is not told which another has told, and nobody would tell its end.
 */
const SAVE = new Script({
  keys: ["alerts"],
  args: { ttlSeconds: "number" },
  moreArgs: "changes",
  lua: `
    for i = 1, #changes, 3 do
      local alert, read, state = changes[i], changes[i + 1], changes[i + 2]
      if (redis.call('HGET', alerts, alert) or '') == read then
        if state == '' then redis.call('HDEL', alerts, alert) else redis.call('HSET', alerts, alert, state) end
      end
    end
    redis.call('EXPIRE', alerts, ttlSeconds)
  `,
});

/** What becomes of an alert that was read. */
export interface AlertChange {
  alert: string;
  /** As it was read; undefined: there was none. */
  text: string | undefined;
  /** Undefined: nothing need be kept of it. */
  state: AlertState | undefined;
}

/** Writes how alerts stand, where that has not changed since they were read: the next look judges those anew. */
export async function saveAlerts({ redis, keys }: Store, changes: readonly AlertChange[]): Promise<void> {
  const texts = changes.flatMap(({ alert, text = "", state }) => [
    alert,
    text,
    state ? JSON.stringify(state) : "",
  ]);
  await SAVE.run(redis, { alerts: keys.alerts }, { ttlSeconds: ALERTS_TTL_SECONDS }, { args: texts });
}
