import { fileURLToPath } from "node:url";
import { inject, onTestFinished } from "vitest";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { outputOf } from "./processes.ts";
import type { WorkerOrder, WorkerResult } from "./rate-limited-worker.ts";
import { testNamespace } from "./redis.ts";
import { sizeOf } from "./sample.ts";
import { type StrictLimits, startStrictProvider } from "./strict-provider.ts";

/** How much more of a burst the provider bears than the budget has: what a busy machine holds up arrives at once. */
const BORNE_SECONDS = 1;
const WORKER = fileURLToPath(new URL("./rate-limited-worker.ts", import.meta.url));

/**
 * Lets worker processes send as fast as they may to a strict provider with the same limits; in the gate it bears
 * somewhat longer bursts than they.
 * @param processes how many, or what is special about each
 */
export async function runFleet(
  processes: number | Partial<WorkerOrder>[],
  limits: StrictLimits,
  order: Partial<WorkerOrder> = {},
): Promise<{ seen: Awaited<ReturnType<typeof startStrictProvider>>["seen"]; results: WorkerResult[] }> {
  const { rpm, tpm, burstSeconds = 1, latencyMs } = limits;
  const borneSeconds = burstSeconds + sizeOf(0, BORNE_SECONDS);
  const provider = await startStrictProvider({ rpm, tpm, latencyMs, burstSeconds: borneSeconds });
  onTestFinished(provider.close);
  const whole: WorkerOrder = {
    redisSocket: inject("redisSocket"),
    keyPrefix: redisKeys(testNamespace()).prefix,
    budget: { rpm, tpm, burstSeconds },
    providerUrl: provider.url,
    slots: 20,
    durationMs: 3000,
    medianTokens: 1,
    estimateFactors: [1, 1],
    ...order,
  };
  const outputs = await Promise.all(
    (typeof processes === "number" ? Array<object>(processes).fill({}) : processes).map((own) =>
      outputOf(process.execPath, [WORKER, JSON.stringify({ ...whole, ...own })]),
    ),
  );
  return { seen: provider.seen, results: outputs.map((output) => JSON.parse(output) as WorkerResult) };
}

/** Share of what the limit allows between the first and the last request. */
export function useOf(amount: number, perMinute: number, arrivalsMs: readonly number[]): number {
  const spanMs = (arrivalsMs.at(-1) ?? 0) - (arrivalsMs[0] ?? 0);
  return amount / ((perMinute / 60_000) * spanMs);
}
