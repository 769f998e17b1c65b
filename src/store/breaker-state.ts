import type { Store } from "./store.ts";

export interface BreakerState {
  /** `half_open`: open, and a probe is under way. */
  state: "closed" | "open" | "half_open";
  /** Of the rolling window; while it is not closed, of the window that opened it. */
  failures: number;
  calls: number;
  /** Epoch milliseconds; only while it is not closed. */
  openedAt?: number;
  /** How often it went from closed to open; forgotten an hour after its last change. */
  opened: number;
}

/** The fleet's circuit breaker of `entry:model`, for display. A breaker that nobody used is closed. */
export async function readBreakerState(store: Store, key: string): Promise<BreakerState> {
  const [[seconds, microseconds], hash] = await Promise.all([
    store.redis.time(),
    store.redis.hgetall(store.keys.breaker(key)),
  ]);
  const now = Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
  const fields = new Map(Object.entries(hash).map(([name, value]) => [name, Number(value)]));
  const field = (name: string) => fields.get(name) ?? 0;
  const opened = field("opened");
  const openedAt = fields.get("openedAt");
  if (openedAt === undefined) return { state: "closed", ...rollingWindow(fields, now), opened };
  const isProbing = fields.has("probing") && field("probeAt") > now;
  const state = isProbing ? "half_open" : "open";
  return { state, failures: field("failures"), calls: field("calls"), openedAt, opened };
}

/** Sums the fields `calls:<slot>` and `failures:<slot>`; a slot is named by its first millisecond. */
function rollingWindow(fields: Map<string, number>, now: number): { failures: number; calls: number } {
  const sums = { failures: 0, calls: 0 };
  const since = now - (fields.get("windowMs") ?? 0);
  for (const [name, count] of fields) {
    const [kind, slot] = name.split(":");
    if (slot === undefined || Number(slot) <= since) continue;
    if (kind === "calls" || kind === "failures") sums[kind] += count;
  }
  return sums;
}
