import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { percentile, waitOf } from "./figures.ts";
import { type LimiterResult, type LimiterRun, runLimiter } from "./limiter-run.ts";
import type { Limits, Sizes } from "./load.ts";
import { percent, seconds, type Table, verdict } from "./table.ts";

const RATE = { rpm: 6000, tpm: 3_600_000 };
const SLOTS = 40;
const LATENCY_MS = 200;
const SIGMA = 0.6;
/** Which limit binds: 718 or 479 tokens per request on average, where 600 would exhaust both. */
const LOADS = {
  tokens: { medianTokens: 600, sigma: SIGMA },
  requests: { medianTokens: 400, sigma: SIGMA },
} satisfies Record<string, Sizes>;

function limitsOf(burstSeconds: number): Limits {
  return { ...RATE, burstSeconds };
}

function steady(changes: Partial<LimiterRun> & { processes?: number; sizes?: Sizes }): LimiterRun {
  const { processes = 3, sizes = LOADS.tokens, ...run } = changes;
  const senders = Array.from({ length: processes }, () => ({ slots: SLOTS, sizes }));
  return { gate: "gluellm", limits: limitsOf(1), latencyMs: LATENCY_MS, senders, ...run };
}

/** 1, 3 and 8 processes, either limit, both quanta; a bucket of a minute for the fleet of three. */
export async function fleets(bench: Bench): Promise<Table> {
  const rows: string[][] = [];
  for (const { processes, burstSeconds } of [
    { processes: 1, burstSeconds: 1 },
    { processes: 3, burstSeconds: 1 },
    { processes: 8, burstSeconds: 1 },
    { processes: 3, burstSeconds: 60 },
  ]) {
    for (const [bound, sizes] of Object.entries(LOADS)) {
      for (const quantumMs of [50, 20]) {
        const limits = limitsOf(burstSeconds);
        const result = await runLimiter(bench, steady({ processes, sizes, quantumMs, limits }));
        const { use, rateLimited } = result.figures;
        const isMet =
          rateLimited === 0 &&
          (quantumMs === 20 ? use >= 0.98 : use >= 0.975 && result.scriptsPerRequest <= 5);
        const target = quantumMs === 20 ? "≥ 98 %, 0" : "≥ 97.5 %, 0, ≤ 5";
        const name = [String(processes), bound, `${burstSeconds} s`, `${quantumMs} ms`];
        rows.push([...name, ...cells(result), verdict(target, isMet)]);
      }
    }
  }
  return {
    title: "Fleets under saturation",
    about: `gluellm's limiter, ${RATE.rpm} RPM and ${RATE.tpm / 1e6}M TPM, log-normal sizes (sigma ${SIGMA}), ${SLOTS} callers per process, ${LATENCY_MS} ms answers.`,
    head: ["processes", "bound by", "bucket", "quantum", ...CELLS, "target"],
    rows,
  };
}

/** The same load through what else there is. BullMQ's limiter knows no tokens; Bottleneck refills once a minute. */
export async function peers(bench: Bench): Promise<Table> {
  const rows: string[][] = [];
  for (const { gate, title, loads, steadyMs } of [
    { gate: "gluellm", title: "gluellm, 50 ms quanta", loads: LOADS },
    {
      gate: "bottleneck",
      title: "Bottleneck as its README shows",
      loads: LOADS,
      steadyMs: 5 * bench.steadyMs,
    },
    { gate: "bullmq", title: "BullMQ's limiter", loads: { requests: LOADS.requests } },
    { gate: "retryAfter", title: "no limiter, retry-after + jitter", loads: LOADS },
    { gate: "fullJitter", title: "no limiter, exponential full jitter", loads: LOADS },
  ] as const) {
    for (const [bound, sizes] of Object.entries(loads)) {
      rows.push([title, bound, ...cells(await runLimiter(bench, steady({ gate, sizes, steadyMs })))]);
    }
  }
  return {
    title: "Peers",
    about:
      "3 processes, bucket of 1 s, the load of the table above. After a 429 all but the last wait as long as the provider says, plus up to 0.5 s (BullMQ, which pauses the queue: exactly). A bucket that was full when the measuring began adds up to 1 s of rate to the use.",
    head: ["limiter", "bound by", ...CELLS],
    rows,
  };
}

/** Estimates 40 % off, settled only after 3 s; callers enough to fill the rate in that time. */
export async function estimates(bench: Bench): Promise<Table> {
  const latencyMs = 3000;
  const perSecond = RATE.tpm / 60 / (LOADS.tokens.medianTokens * Math.exp(SIGMA ** 2 / 2));
  const slots = Math.ceil(((perSecond * latencyMs) / 1000 / 3) * 1.5);
  const rows: string[][] = [];
  for (const [title, estimateFactor] of [
    ["40 % too low", 0.6],
    ["40 % too high", 1.4],
  ] as const) {
    const senders = Array.from({ length: 3 }, () => ({ slots, sizes: LOADS.tokens, estimateFactor }));
    const result = await runLimiter(bench, steady({ senders, latencyMs, warmUpMs: 10_000 }));
    const { use, rateLimited } = result.figures;
    rows.push([title, ...cells(result), verdict("≥ 97 %, 0", use >= 0.97 && rateLimited === 0)]);
  }
  return {
    title: "Estimates off by 40 %, settled after 3 s",
    about: `3 processes × ${slots} callers, bound by tokens, bucket of 1 s, first 10 s left out.`,
    head: ["estimate", ...CELLS, "target"],
    rows,
  };
}

/** One process sends requests of a third of the bucket, two others small ones. */
export async function large(bench: Bench): Promise<Table> {
  const third = RATE.tpm / 60 / 3;
  const small = { slots: SLOTS, sizes: LOADS.tokens };
  const senders = [{ slots: 2, sizes: { medianTokens: third, sigma: 0 } }, small, small];
  const { figures, arrivals, span } = await runLimiter(bench, steady({ senders }));
  const ofLarge = arrivals.filter(({ tokens, at }) => tokens === third && at >= span.from && at < span.to);
  const maxMs = Math.max(...ofLarge.map(waitOf));
  const medianMs = percentile(figures.waitsMs, 50);
  const isMet = ofLarge.length > 0 && maxMs <= 3 * medianMs;
  return {
    title: "Requests of a third of the bucket",
    about: `One process with 2 callers of ${third} tokens each, two with ${SLOTS} callers of small requests; bucket of 1 s.`,
    head: ["large requests", "their longest wait", "median wait of all", "ratio", "use", "429s", "target"],
    rows: [
      [
        String(ofLarge.length),
        seconds(maxMs),
        seconds(medianMs),
        (maxMs / medianMs).toFixed(2),
        percent(figures.use),
        String(figures.rateLimited),
        verdict("≤ 3", isMet),
      ],
    ],
  };
}

/** A process is killed after a third of the time, and one comes after two thirds. */
export async function processes(bench: Bench): Promise<Table> {
  const steadyMs = bench.steadyMs * 1.5;
  const result = await runLimiter(
    bench,
    steady({
      steadyMs,
      during: async (fleet, orders) => {
        await delay(steadyMs / 3);
        fleet.kill(0);
        await delay(steadyMs / 3);
        await fleet.add(orders[1]!);
      },
    }),
  );
  const { longestGapMs, rateLimited } = result.figures;
  return {
    title: "A process SIGKILLed, a process added",
    about: `Three processes, two after ${seconds(steadyMs / 3)}, three again after ${seconds((steadyMs * 2) / 3)}; bound by tokens, bucket of 1 s.`,
    head: [...CELLS, "longest gap", "target"],
    rows: [
      [
        ...cells(result),
        seconds(longestGapMs),
        verdict("≤ 1 s, 0", longestGapMs <= 1000 && rateLimited === 0),
      ],
    ],
  };
}

const CELLS = ["use", "429s", "wait p50", "p95", "max", "scripts per request"];

function cells({ figures, scriptsPerRequest }: LimiterResult): string[] {
  const { use, rateLimited, waitsMs } = figures;
  // BullMQ's jobs have waited for each other all along.
  const isKnown = (waitsMs.at(-1) ?? 0) > 0;
  const waits = [50, 95, 100].map((p) => (isKnown ? seconds(percentile(waitsMs, p)) : "–"));
  return [percent(use), String(rateLimited), ...waits, scriptsPerRequest.toFixed(1)];
}
