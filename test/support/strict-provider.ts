import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface StrictLimits {
  rpm?: number;
  tpm?: number;
  burstSeconds?: number;
  latencyMs?: number;
}

/** A provider that counts each request as it arrives, in continuous token buckets that start full. */
export async function startStrictProvider({ rpm, tpm, burstSeconds = 1, latencyMs = 0 }: StrictLimits) {
  const buckets = { requests: bucket(rpm, burstSeconds), tokens: bucket(tpm, burstSeconds) };
  const seen = { accepted: 0, rejected: 0, tokens: 0, arrivalsMs: [] as number[] };
  const server = createServer((request, response) => {
    const tokens = Number(request.headers["x-tokens"]);
    const isAccepted = buckets.requests.holds(1) && buckets.tokens.holds(tokens);
    if (isAccepted) {
      buckets.requests.take(1);
      buckets.tokens.take(tokens);
      seen.accepted++;
      seen.tokens += tokens;
      seen.arrivalsMs.push(performance.now());
    } else seen.rejected++;
    request.resume();
    setTimeout(() => response.writeHead(isAccepted ? 200 : 429).end(), latencyMs);
  });
  // An idle connection closed just as a resting worker uses it again would look like a fault of the worker.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    seen,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function bucket(perMinute = Number.POSITIVE_INFINITY, burstSeconds: number) {
  const ratePerMs = perMinute / 60_000;
  const capacity = Math.max(1, ratePerMs * 1000 * burstSeconds);
  let level = capacity;
  let atMs = performance.now();
  const refill = () => {
    const nowMs = performance.now();
    level = Number.isFinite(capacity) ? Math.min(capacity, level + (nowMs - atMs) * ratePerMs) : capacity;
    atMs = nowMs;
  };
  return {
    holds: (units: number) => {
      refill();
      return units <= level;
    },
    take: (units: number) => {
      level -= units;
    },
  };
}
