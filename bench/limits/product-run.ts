import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { epochMs } from "./figures.ts";
import type { Limits, Sizes } from "./load.ts";
import { type BatchReport, ProductFleet, rowOf } from "./product-fleet.ts";
import type { Arrival } from "./simulator-control.ts";

/** Bound by requests: 479 tokens each on average, where 600 would exhaust both. */
export const LIMITS: Limits = { rpm: 6000, tpm: 3_600_000, burstSeconds: 1 };
export const PER_SECOND = LIMITS.rpm / 60;
export const SIZES: Sizes = { medianTokens: 400, sigma: 0.6 };
export const LATENCY_MS = 200;
const WORKERS = 3;

export interface ProductRun extends AsyncDisposable {
  fleet: ProductFleet;
  /** Epoch milliseconds of the first call. */
  startedAt: number;
  /** When the last row has its result. */
  report: Promise<BatchReport>;
  arrivals(): Promise<Arrival[]>;
}

/**
 * A fleet that works on a batch, from the moment the provider sees its first call. The limits are unknown to it.
 * @param rows lines of the file, or how many of the usual sizes
 * @param workerEnvs what the environment of each worker has beside `env`
 */
export async function startProduct(
  bench: Bench,
  rows: number | readonly string[],
  env: Record<string, string> = {},
  limits: object = LIMITS,
  workerEnvs: readonly Record<string, string>[] = Array.from({ length: WORKERS }, () => ({})),
): Promise<ProductRun> {
  const { redis, provider } = bench;
  await redis.flushall();
  await provider.set("reset", {});
  await provider.set("limits", { itpm: null, otpm: null, ...limits });
  await provider.set("latency", { latencyMs: LATENCY_MS, jitterMs: LATENCY_MS / 4 });
  const fleet = new ProductFleet(bench, env);
  await Promise.all(workerEnvs.map((own) => fleet.addWorker(own)));
  const report = fleet.runBatch(
    typeof rows === "number" ? Array.from({ length: rows }, (_, n) => rowOf(n, SIZES)) : rows,
  );
  // A case may end before its batch does.
  report.catch(() => {});
  // Rows may name models of their own.
  const arrivals = () => provider.arrivals();
  while ((await arrivals()).length === 0) await delay(50);
  return {
    fleet,
    report,
    arrivals,
    startedAt: epochMs(),
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}
