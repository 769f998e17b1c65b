import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { epochMs, figuresOf, type Span, secondsOf, timeToFullRateMs } from "./figures.ts";
import { runLimiter } from "./limiter-run.ts";
import { plotOf } from "./plot.ts";
import { LATENCY_MS, LIMITS, PER_SECOND, SIZES, startProduct } from "./product-run.ts";
import type { Arrival } from "./simulator-control.ts";
import { percent, seconds, type Table, verdict } from "./table.ts";

/** The provider's limits in the course of a run, as shares of the first ones. */
const PHASES = [
  { title: "unknown, learned", factor: 1 },
  { title: "halved", factor: 0.5 },
  { title: "doubled", factor: 1 },
];
/** Left out of the use at the start, since nothing is known before the first answers. */
const START_MS = 3000;
const PEER = "BullMQ's limiter";
const PEER_SLOTS = 40;

interface Phase extends Span {
  title: string;
  factor: number;
}

interface Measured {
  phases: Phase[];
  arrivals: Arrival[];
}

/** Limits that nobody configured, halved and doubled again in mid-run; beside it BullMQ's limiter, set to the first limit. */
export async function learning(bench: Bench): Promise<{ table: Table; plot: string }> {
  const ours = await runProduct(bench);
  const peer = await runPeer(bench);
  const lines = [
    { title: "gluellm", seconds: ours },
    { title: PEER, seconds: peer },
  ].map(({ title, seconds: { phases, arrivals } }) => ({
    title,
    seconds: secondsOf(arrivals, whole(phases)),
  }));
  const steps = PHASES.map(({ factor }, index) => ({
    fromSeconds: (index * bench.steadyMs) / 1000,
    toSeconds: ((index + 1) * bench.steadyMs) / 1000,
    perSecond: PER_SECOND * factor,
  }));
  const table = {
    title: "Limits learned, halved, doubled",
    about: `3 processes, ${LIMITS.rpm} RPM, bucket of 1 s, ${LATENCY_MS} ms answers, ${seconds(bench.steadyMs)} per phase. The use of the first phase leaves out ${seconds(START_MS)}, the 429s nothing. ${PEER} is set to the first limit.`,
    head: ["limiter", "phase", "use", "429s", "of calls", "full rate after", "target"],
    rows: [...rowsOf("gluellm", ours, true), ...rowsOf(PEER, peer, false)],
  };
  return { table, plot: plotOf(steps, lines) };
}

async function runProduct(bench: Bench): Promise<Measured> {
  const rows = Math.ceil((PER_SECOND * bench.steadyMs * PHASES.length) / 1000);
  await using run = await startProduct(bench, rows);
  const phases = await runPhases(bench);
  return { phases, arrivals: await run.arrivals() };
}

async function runPeer(bench: Bench): Promise<Measured> {
  let phases: Phase[] = [];
  const { arrivals } = await runLimiter(bench, {
    gate: "bullmq",
    limits: LIMITS,
    latencyMs: LATENCY_MS,
    senders: Array.from({ length: 3 }, () => ({ slots: PEER_SLOTS, sizes: SIZES })),
    warmUpMs: 0,
    steadyMs: bench.steadyMs * PHASES.length,
    during: async () => {
      phases = await runPhases(bench);
    },
  });
  return { phases, arrivals };
}

async function runPhases({ provider, steadyMs }: Bench): Promise<Phase[]> {
  const phases: Phase[] = [];
  const startedAt = epochMs();
  for (const phase of PHASES) {
    const { rpm, tpm } = LIMITS;
    await provider.set("limits", { rpm: rpm * phase.factor, tpm: tpm * phase.factor });
    const from = epochMs();
    const to = startedAt + steadyMs * (phases.length + 1);
    await delay(to - from);
    phases.push({ ...phase, from, to });
  }
  return phases;
}

function rowsOf(limiter: string, { phases, arrivals }: Measured, isOurs: boolean): string[][] {
  return phases.map((phase, index) => {
    const { title, factor, from, to } = phase;
    const limits = { ...LIMITS, rpm: LIMITS.rpm * factor, tpm: LIMITS.tpm * factor };
    const { rateLimited, limitedShare } = figuresOf(arrivals, limits, { from: index === 0 ? 0 : from, to });
    const { use } = figuresOf(arrivals, limits, { from: index === 0 ? from + START_MS : from, to });
    const isMet = use >= 0.95 && limitedShare < 0.005;
    const fullAfterMs = Math.max(0, timeToFullRateMs(arrivals, from, PER_SECOND * factor));
    return [
      limiter,
      title,
      percent(use),
      String(rateLimited),
      percent(limitedShare, 2),
      seconds(fullAfterMs),
      isOurs ? verdict("≥ 95 %, < 0.5 %", isMet) : "",
    ];
  });
}

function whole(phases: readonly Phase[]): Span {
  return { from: phases[0]?.from ?? 0, to: phases.at(-1)?.to ?? 0 };
}
