import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { answeredTwice, epochMs, figuresOf, type Span, timeToFullRateMs } from "./figures.ts";
import type { BatchReport } from "./product-fleet.ts";
import { LATENCY_MS, LIMITS, PER_SECOND, type ProductRun, startProduct } from "./product-run.ts";
import type { Arrival } from "./simulator-control.ts";
import { seconds, type Table, verdict } from "./table.ts";

const FLEET = `3 \`gluellm worker\` processes and one \`gluellm batch run\`, limits unknown at the start; provider: ${LIMITS.rpm} RPM, bucket of 1 s, ${LATENCY_MS} ms answers.`;
/** Learning and growth are not what these cases measure. */
const SETTLED_MS = 6000;
const OUTAGE_MS = 60_000;
const FAULTS = { "500": 0.05, "529": 0.05, drop: 0.05, hang: 0.05 };

interface Event {
  title: string;
  happen: (bench: Bench, run: ProductRun) => Promise<void>;
  /** How long it may take until the full rate is back. */
  allowedMs: number;
  /** Until the next one. */
  watchMs: number;
}

const EVENTS: Event[] = [
  {
    title: "a worker SIGKILLed",
    happen: async (_, { fleet }) => fleet.killWorker(0),
    allowedMs: 1000,
    watchMs: 10_000,
  },
  { title: "a worker added", happen: (_, { fleet }) => fleet.addWorker(), allowedMs: 1000, watchMs: 10_000 },
  {
    title: "Redis killed, restarted with its AOF",
    happen: (bench) => killRedis(bench),
    allowedMs: 5000,
    watchMs: 12_000,
  },
  {
    title: "Redis emptied (FLUSHALL)",
    happen: async ({ redis }) => void (await redis.flushall()),
    allowedMs: 10_000,
    watchMs: 20_000,
  },
  {
    title: "Redis frozen for 4 s",
    happen: (bench) => freezeRedis(bench, 4000),
    allowedMs: 5000,
    watchMs: 15_000,
  },
];

/** One batch, and what happens to its fleet and its Redis meanwhile. */
export async function events(bench: Bench): Promise<Table> {
  const runMs = EVENTS.reduce((sum, { watchMs }) => sum + watchMs, SETTLED_MS);
  await using run = await startProduct(bench, Math.ceil((PER_SECOND * runMs) / 1000));
  await delay(SETTLED_MS);
  const times: Happening[] = [];
  for (const { happen, watchMs } of EVENTS) {
    const from = epochMs();
    await happen(bench, run);
    const over = epochMs();
    times.push({ from, over, to: from + watchMs });
    await delay(from + watchMs - over);
  }
  const report = await run.report;
  const arrivals = await run.arrivals();
  return {
    title: "Losses in mid-run",
    about: `${FLEET} One batch, the events one after the other. ${endOf(report, arrivals)}`,
    head: ["event", "longest gap", "full rate after", "429s", "target"],
    rows: EVENTS.map((event, index) => eventRow(event, arrivals, times[index]!)),
  };
}

/** An event, and what was watched of its consequences. */
interface Happening extends Span {
  over: number;
}

function eventRow({ title, allowedMs }: Event, arrivals: readonly Arrival[], { from, over, to }: Happening) {
  const { longestGapMs, rateLimited, limitedShare } = figuresOf(arrivals, LIMITS, { from, to });
  const fullAfterMs = timeToFullRateMs(arrivals, over, PER_SECOND);
  const isMet = fullAfterMs <= allowedMs && limitedShare < 0.005;
  return [
    title,
    seconds(longestGapMs),
    seconds(fullAfterMs),
    String(rateLimited),
    verdict(`≤ ${allowedMs / 1000} s, < 0.5 %`, isMet),
  ];
}

async function killRedis({ redis }: Bench): Promise<void> {
  process.kill(await pidOf(redis), "SIGKILL");
  await delay(100);
  await redis.ping();
}

async function freezeRedis({ redis }: Bench, forMs: number): Promise<void> {
  const pid = await pidOf(redis);
  process.kill(pid, "SIGSTOP");
  await delay(forMs);
  process.kill(pid, "SIGCONT");
}

async function pidOf(redis: Bench["redis"]): Promise<number> {
  return Number(/^process_id:(\d+)/m.exec(await redis.info("server"))?.[1]);
}

/** The provider refuses connections for a minute. */
export async function outage(bench: Bench): Promise<Table> {
  const rows = Math.ceil((PER_SECOND * (SETTLED_MS + bench.steadyMs)) / 1000);
  await using run = await startProduct(bench, rows);
  await delay(SETTLED_MS);
  const from = epochMs();
  await bench.provider.set("outage", { forMs: OUTAGE_MS, kind: "refuse" });
  await delay(OUTAGE_MS);
  const over = from + OUTAGE_MS;
  const report = await run.report;
  const arrivals = await run.arrivals();
  const opened = await run.fleet.breakerOpenings();
  const tried = arrivals.filter(({ at }) => at >= from && at < over).length;
  const fullAfterMs = timeToFullRateMs(arrivals, over, PER_SECOND);
  const isMet = report.failed === 0 && opened === 1 && fullAfterMs <= 5000;
  return {
    title: "The provider down for 60 s",
    about: `${FLEET} ${endOf(report, arrivals)}`,
    head: ["calls while it was down", "breaker opened", "full rate after", "rows failed", "429s", "target"],
    rows: [
      [
        String(tried),
        String(opened),
        seconds(fullAfterMs),
        String(report.failed),
        String(arrivals.filter(({ isLimited }) => isLimited).length),
        verdict("opened 1, ≤ 5 s, 0 failed", isMet),
      ],
    ],
  };
}

/** Long enough that the last rows' waits between attempts do not decide. */
const FAULTS_RATE_MS = 40_000;
const FAULTS_ENV = {
  GLUELLM_CALL_TIMEOUT_MS: "2000",
  GLUELLM_RETRY_MIN_WAIT: "0.5",
  GLUELLM_RETRY_MAX_WAIT: "4",
};

/** A fifth of the calls fails in four ways, against the same batch without faults. */
export async function faults(bench: Bench): Promise<Table> {
  const rows = Math.ceil((PER_SECOND * Math.min(FAULTS_RATE_MS, bench.steadyMs * 3)) / 1000);
  const runs = [];
  for (const { title, plan } of [
    { title: "none", plan: {} },
    { title: "20 %", plan: FAULTS },
  ]) {
    await bench.provider.set("faults", plan);
    await using run = await startProduct(bench, rows, FAULTS_ENV);
    const report = await run.report;
    runs.push({ title, report, arrivals: await run.arrivals() });
  }
  const baseMs = runs[0]!.report.durationMs;
  return {
    title: "20 % faults",
    about: `${FLEET} ${rows} rows; 5 % each of status 500, status 529, dropped connections and calls that hang; ${Object.entries(
      FAULTS_ENV,
    )
      .map(([name, value]) => `\`${name}=${value}\``)
      .join(", ")}.`,
    head: ["faults", "time", "ratio", "rows failed", "answered twice", "calls", "429s", "target"],
    rows: runs.map(({ title, report, arrivals }) => {
      const ratio = report.durationMs / baseMs;
      const twice = answeredTwice(arrivals);
      const isMet = report.succeeded === rows && twice === 0 && ratio <= 1.5;
      return [
        title,
        seconds(report.durationMs),
        ratio.toFixed(2),
        String(report.failed),
        String(twice),
        String(arrivals.length),
        String(arrivals.filter(({ isLimited }) => isLimited).length),
        verdict("all once, ≤ 1.5", isMet),
      ];
    }),
  };
}

function endOf({ total, succeeded, failed }: BatchReport, arrivals: readonly Arrival[]): string {
  return `At the end ${succeeded} of ${total} rows had their answer, ${failed} had failed, ${answeredTwice(arrivals)} were answered twice.`;
}
