import { fileURLToPath } from "node:url";
import { inject, onTestFinished } from "vitest";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { outputOf } from "./processes.ts";
import type { WorkerOrder, WorkerResult } from "./rate-limited-worker.ts";
import { testNamespace } from "./redis.ts";
import { type StrictLimits, startStrictProvider } from "./strict-provider.ts";

const WORKER = fileURLToPath(new URL("./rate-limited-worker.ts", import.meta.url));

/**
 * Lets worker processes send as fast as they may to a strict provider with the same limits.
 * @param processes how many, or what is special about each
 */
export async function runFleet(
  processes: number | Partial<WorkerOrder>[],
  limits: StrictLimits,
  order: Partial<WorkerOrder> = {},
): Promise<{ seen: Awaited<ReturnType<typeof startStrictProvider>>["seen"]; results: WorkerResult[] }> {
  const provider = await startStrictProvider(limits);
  onTestFinished(provider.close);
  const { rpm, tpm, burstSeconds } = limits;
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
