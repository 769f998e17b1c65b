import { setTimeout as delay } from "node:timers/promises";
import type Bottleneck from "bottleneck";
import type { Redis } from "ioredis";
import type { BucketSettings } from "./bucket-settings.ts";

const GUARD_MS = 1000;

/**
 * Bottleneck keeps the settings of whoever came first, also of an earlier run. Each process writes its own
 * once when they differ, so the last one configured wins and a mixed fleet does not write in turns.
 */
export async function assertSettings(
  client: Redis,
  limiter: Bottleneck,
  { stored }: BucketSettings,
): Promise<void> {
  const { reservoir: _, ...compared } = stored;
  const wanted = Object.values(compared).map((value) => String(value ?? ""));
  const guard = `${limiter.id}:guard:${wanted.join("/")}`;
  for (;;) {
    const current = await client.hmget(settingsKey(limiter), ...Object.keys(compared));
    if (wanted.every((value, index) => value === current[index])) return;
    if (await client.set(guard, "1", "PX", GUARD_MS, "NX")) {
      await limiter.updateSettings(stored);
      await forgetSlots(client, limiter, stored.minTime);
    } else await delay(GUARD_MS / 10);
  }
}

/** What the fleet's bucket holds at most; infinite for a paced one. */
export async function storedMaximum(client: Redis, limiter: Bottleneck): Promise<number> {
  const text = await client.hget(settingsKey(limiter), "reservoirIncreaseMaximum");
  return text ? Number(text) : Number.POSITIVE_INFINITY;
}

/** Slots that a paced limit gave away ahead of time would hold up the new one; `updateSettings` keeps them. */
async function forgetSlots(client: Redis, limiter: Bottleneck, minTimeMs: number): Promise<void> {
  const nextAt = Date.now() + minTimeMs;
  const givenAway = Number(await client.hget(settingsKey(limiter), "nextRequest"));
  if (givenAway > nextAt) await client.hset(settingsKey(limiter), { nextRequest: nextAt });
}

function settingsKey(limiter: Bottleneck): string {
  return `b_${limiter.id}_settings`;
}
