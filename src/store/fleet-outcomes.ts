import { z } from "zod";
import type { Store } from "./store.ts";

/*
 * What the fleet's work came to, for alerts and autoscalers: the hash `:outcomes:<hour>`, `<minute>:<what>` → a sum, and the hash
 * `:call-times`, budget key or queue → the mean time of a call in ms. Every worker process adds what it has gathered every two seconds,
 * so that a job costs no command of its own; what a killed process had gathered is lost, and no record depends on it.
 */

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** The latest day is read. */
const OUTCOMES_TTL_SECONDS = 26 * 3600;
const CALL_TIMES_TTL_SECONDS = 7 * 86_400;

/** Sums of a time. */
export interface Outcomes {
  /** Jobs that succeeded or failed. */
  ended: number;
  failed: number;
  costUsd: number;
}
const NAMES = ["ended", "failed", "costUsd"] as const;

/** Adds to the present minute. */
export async function addOutcomes(
  { redis, keys }: Store,
  added: Outcomes,
  callTimes: ReadonlyMap<string, number>,
  now = Date.now(),
): Promise<void> {
  const key = keys.outcomes(Math.floor(now / HOUR_MS));
  const minute = Math.floor((now % HOUR_MS) / MINUTE_MS);
  const pipeline = redis.pipeline();
  for (const name of NAMES) if (added[name] > 0) pipeline.hincrbyfloat(key, `${minute}:${name}`, added[name]);
  pipeline.expire(key, OUTCOMES_TTL_SECONDS);
  for (const [of, ms] of callTimes) pipeline.hset(keys.callTimes, of, ms.toFixed(1));
  if (callTimes.size > 0) pipeline.expire(keys.callTimes, CALL_TIMES_TTL_SECONDS);
  await pipeline.exec();
}

/** Returns the sums of the latest minutes, the present one included; at most a day. */
export async function readOutcomes<Window extends string>(
  { redis, keys }: Store,
  windows: Readonly<Record<Window, number>>,
  now = Date.now(),
): Promise<Record<Window, Outcomes>> {
  const present = Math.floor(now / MINUTE_MS);
  const longest = Math.max(...Object.values<number>(windows));
  const firstHour = Math.floor(((present - longest) * MINUTE_MS) / HOUR_MS);
  const pipeline = redis.pipeline();
  for (let hour = firstHour; hour * HOUR_MS <= now; hour++) pipeline.hgetall(keys.outcomes(hour));
  const hours = ((await pipeline.exec()) ?? []).map(([, fields]) => fields as Record<string, string> | null);
  const sums = Object.fromEntries(
    Object.keys(windows).map((window) => [window, { ended: 0, failed: 0, costUsd: 0 }]),
  ) as Record<Window, Outcomes>;
  for (const [n, fields] of hours.entries()) {
    for (const [field, value] of Object.entries(fields ?? {})) {
      const [minute = "", name = ""] = field.split(":");
      const at = (firstHour + n) * 60 + Number(minute);
      if (!isName(name)) continue;
      for (const window in windows)
        if (present - at < windows[window]) sums[window][name] += Number(value) || 0;
    }
  }
  return sums;
}

function isName(name: string): name is (typeof NAMES)[number] {
  return (NAMES as readonly string[]).includes(name);
}

const timesSchema = z.record(z.string(), z.coerce.number().min(0).catch(0));

/** Returns the mean time of a call in ms by budget key, and of an activity by its queue; those that are known. */
export async function readCallTimes({ redis, keys }: Store): Promise<Map<string, number>> {
  return new Map(Object.entries(timesSchema.parse(await redis.hgetall(keys.callTimes))));
}
