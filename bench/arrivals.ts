/** Returns when the simulator saw each prompt, in epoch milliseconds with fractions. */
export async function arrivals(providerUrl: string): Promise<Map<string, number>> {
  const reply = await fetch(`${providerUrl}/_simulator/journal?since=0`);
  const { entries } = (await reply.json()) as { entries: { at: number; lastUserText: string }[] };
  return new Map(entries.map(({ at, lastUserText }) => [lastUserText, at]));
}

export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The first jobs, which open connections and warm the code up. */
export const WARM_UP_JOBS = 20;
export const LATENCY_JOBS = 300;
