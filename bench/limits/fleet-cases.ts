import { loadavg } from "node:os";
import type { Bench } from "./bench.ts";
import { figuresOf, percentile } from "./figures.ts";
import { runLimiter } from "./limiter-run.ts";
import type { Limits } from "./load.ts";
import { LATENCY_MS, SIZES } from "./product-run.ts";
import { percent, seconds, type Table, verdict } from "./table.ts";

/** 50 requests a second: with 50 processes each has one a second. */
const LIMITS: Limits = { rpm: 3000, tpm: 1_800_000, burstSeconds: 1 };
const SLOTS = 4;
/** `simulated`: so many of them are in one process of the machine. */
const FLEETS = [
  { processes: 3, simulated: 1 },
  { processes: 10, simulated: 1 },
  { processes: 50, simulated: 1 },
  { processes: 200, simulated: 50 },
  { processes: 1000, simulated: 250 },
];
/** Starting so many takes the machine a while. */
const WARM_UP_MS = 10_000;
const WARM_UP_MS_PER_PROCESS = 50;

/** One Redis and one strict budget, and more and more processes that are never without work. */
export async function many(bench: Bench): Promise<Table> {
  const rows: string[][] = [];
  const load: number[] = [];
  for (const { processes, simulated } of FLEETS) {
    const senders = Array.from({ length: processes / simulated }, () => ({
      ...{ slots: SLOTS, sizes: SIZES, simulated },
    }));
    const before = await commandsOf(bench);
    const warmUpMs = WARM_UP_MS + processes * WARM_UP_MS_PER_PROCESS;
    const run = { gate: "gluellm", limits: LIMITS, latencyMs: LATENCY_MS, warmUpMs } as const;
    const steadyMs = 2 * bench.steadyMs;
    const { figures, arrivals, span, scriptsPerRequest } = await runLimiter(bench, {
      ...run,
      steadyMs,
      senders,
    });
    const commands = (await commandsOf(bench)) - before;
    const all = figuresOf(arrivals, LIMITS, { from: 0, to: span.to });
    load.push(loadavg()[0] ?? 0);
    const accepted = arrivals.filter(({ at, tokens }) => tokens > 0 && at >= span.from && at < span.to);
    const shares = sharesOf(
      accepted.map(({ lastUserText }) => lastUserText.split(" ")[0] ?? ""),
      processes,
    );
    rows.push([
      simulated > 1 ? `${processes} simulated` : String(processes),
      percent(figures.use),
      String(figures.rateLimited),
      scriptsPerRequest.toFixed(1),
      (commands / all.accepted).toFixed(0),
      jain(shares).toFixed(3),
      `${Math.min(...shares)} to ${Math.max(...shares)}`,
      seconds(percentile(figures.waitsMs, 95)),
      verdict("≥ 95 %, < 0.5 %", figures.use >= 0.95 && figures.limitedShare < 0.005),
    ]);
    console.log(rows.at(-1)?.join(" | "));
  }
  return {
    title: "More and more processes",
    about: `gluellm's limiter, one Redis, ${LIMITS.rpm} RPM and ${LIMITS.tpm / 1e6}M TPM, bound by requests, bucket of 1 s, ${SLOTS} callers per process, ${LATENCY_MS} ms answers, ${seconds(2 * bench.steadyMs)} after ${seconds(WARM_UP_MS)} and ${WARM_UP_MS_PER_PROCESS} ms for each process. Commands are all that Redis ran, those inside of scripts too. Load average ${Math.min(...load).toFixed(0)} to ${Math.max(...load).toFixed(0)} on two cores.`,
    head: [
      "processes",
      "use",
      "429s",
      "scripts per call",
      "commands per call",
      "Jain's index",
      "calls of a process",
      "wait p95",
      "target",
    ],
    rows,
  };
}

/** How often each name comes, of so many that may come. */
function sharesOf(names: readonly string[], of: number): number[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const silent = Array.from({ length: Math.max(0, of - counts.size) }, () => 0);
  return [...counts.values(), ...silent];
}

/** R. Jain, 1984: 1 when all have the same, 1/n when one has all. */
function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  return sum ** 2 / (shares.length * shares.reduce((total, share) => total + share ** 2, 0));
}

async function commandsOf({ redis }: Bench): Promise<number> {
  return Number(/^total_commands_processed:(\d+)/m.exec(await redis.info("stats"))?.[1]);
}
