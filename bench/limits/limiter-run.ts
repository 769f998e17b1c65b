import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Bench } from "./bench.ts";
import { epochMs, type Figures, figuresOf, type Span } from "./figures.ts";
import { Fleet } from "./fleet.ts";
import { type Limits, uniqueName } from "./load.ts";
import type { SenderOrder } from "./sender-order.ts";
import type { Arrival } from "./simulator-control.ts";

export interface LimiterRun {
  gate: SenderOrder["gate"];
  limits: Limits;
  latencyMs: number;
  /** One entry per process. */
  senders: (Pick<SenderOrder, "slots" | "sizes" | "simulated"> & { estimateFactor?: number })[];
  quantumMs?: number;
  /** Before the measured phase; default 3 s. */
  warmUpMs?: number;
  steadyMs?: number | undefined;
  /** What happens in the measured phase. */
  during?: (fleet: Fleet, orders: readonly SenderOrder[]) => Promise<void>;
}

export interface LimiterResult {
  figures: Figures;
  scriptsPerRequest: number;
  arrivals: Arrival[];
  span: Span;
}

/** Lets a fleet of senders run against a strict provider, and reads from the provider's journal what it did. */
export async function runLimiter(bench: Bench, run: LimiterRun): Promise<LimiterResult> {
  const { redis, provider, redisSocket, providerUrl } = bench;
  const { gate, limits, latencyMs, quantumMs = 50, warmUpMs = 3000, during } = run;
  const steadyMs = run.steadyMs ?? bench.steadyMs;
  await redis.flushall();
  await provider.set("reset", {});
  await provider.set("limits", limits);
  await provider.set("latency", { latencyMs, jitterMs: latencyMs / 4 });
  const name = uniqueName();
  const shared = { gate, name, redisSocket, providerUrl, limits, quantumMs };
  const backlog = Math.ceil((limits.rpm / 60_000) * (warmUpMs + steadyMs) * 2);
  const orders = run.senders.map((sender, index) => ({
    ...shared,
    estimateFactor: 1,
    backlog: index === 0 ? backlog : 0,
    ...sender,
  }));
  await using fleet = await Fleet.of(orders);
  fleet.start();
  await delay(warmUpMs);
  const from = epochMs();
  const before = await scripts(redis);
  await Promise.all([delay(steadyMs), during?.(fleet, orders)]);
  const ran = (await scripts(redis)) - before;
  const span = { from, to: epochMs() };
  const arrivals = await provider.arrivals(name);
  const figures = figuresOf(arrivals, limits, span);
  return { figures, scriptsPerRequest: ran / figures.accepted, arrivals, span };
}

async function scripts(redis: Redis): Promise<number> {
  const info = await redis.info("commandstats");
  const counts = info.matchAll(/^cmdstat_(?:evalsha|eval|fcall)(?:_ro)?:calls=(\d+)/gm);
  return [...counts].reduce((sum, [, calls]) => sum + Number(calls), 0);
}
