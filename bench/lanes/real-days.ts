import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { randomOf } from "../../src/batch/quote/draws.ts";
import { GlueLLM } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { durationOf } from "../../src/simulator/batches/plan.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { BenchSite } from "../site.ts";
import { type Account, BATCH_PRICE, liveDay, STEP_MS } from "./day.ts";
import { HOUR_MS, MINUTE_MS, RESERVE_MS } from "./days.ts";
import { DEADLINES_MS, SEASON } from "./table.ts";

/* A few days lived by the real system, whose hours pass faster, beside the same days of the simulation of events. */

/** Hours pass so many times faster. */
const SPEED = 100;
const ROWS_PER_MINUTE = 60;
const DAYS = 6;
const SEEN = 50;

interface RealDay {
  name: string;
  byMs: number;
  rows: number;
  /** Of its provider batch. */
  share: number;
  hasOutage: boolean;
}

interface Lived {
  cost: number;
  isInTime: boolean;
}
interface Comparison extends RealDay {
  real: Lived;
  simulated: Lived;
}

/** Lives days under each deadline side by side, then those with an outage one after the other. */
export async function liveRealDays(): Promise<Comparison[]> {
  const random = randomOf(2);
  const dayOf = (byMs: number, n: number, hasOutage = false): RealDay => ({
    name: `day-${byMs / MINUTE_MS}-${n}${hasOutage ? "-outage" : ""}`,
    byMs,
    rows: Math.round(20 * 10 ** random()),
    // One of six in the tail, that not only quick ones are compared.
    share: hasOutage || n === DAYS - 1 ? 0.9 + 0.1 * random() : random(),
    hasOutage,
  });
  const plain = DEADLINES_MS.flatMap((byMs) => Array.from({ length: DAYS }, (_, n) => dayOf(byMs, n)));
  const outages = [0.5 * HOUR_MS, 2 * HOUR_MS].map((byMs) => dayOf(byMs, 0, true));
  await using site = await BenchSite.open();
  const simulator = await startSimulator({ latencyMs: 0, jitterMs: 0, batchSpeed: SPEED });
  const learned = Array.from({ length: SEEN }, () => durationOf(random()));
  Object.assign(process.env, environmentOf(site, simulator, [...plain, ...outages]));
  await teach(site, [...plain, ...outages], learned);
  const glue = new GlueLLM({ mode: "local" });
  const parts = { site, simulator, glue };
  try {
    const lived = new Map<string, Promise<Lived>>();
    for (const day of plain) lived.set(day.name, (await begin(day, parts)).end);
    await Promise.all(lived.values());
    for (const day of outages) {
      const { end } = await begin(day, parts);
      lived.set(day.name, end);
      await end;
    }
    const compared = [...lived].map(async ([name, real]) => {
      const day = [...plain, ...outages].find((one) => one.name === name) as RealDay;
      return { ...day, real: await real, simulated: simulate(day, learned) };
    });
    return await Promise.all(compared);
  } finally {
    await glue.close();
    await simulator.close();
  }
}

interface Parts {
  site: BenchSite;
  simulator: Simulator;
  glue: GlueLLM;
}

function environmentOf(site: BenchSite, simulator: Simulator, days: readonly RealDay[]) {
  const limit = { rpm: ROWS_PER_MINUTE * SPEED };
  return {
    GLUELLM_REDIS_URL: `unix://${site.socketPath}`,
    SIMULATOR_BASE_URL: `${simulator.url}/v1`,
    GLUELLM_LANE_POLL_MS: String(STEP_MS / SPEED),
    GLUELLM_LANE_RESERVE_MS: String(RESERVE_MS / SPEED),
    GLUELLM_LIMITS: JSON.stringify(Object.fromEntries(days.map(({ name }) => [`simulator:${name}`, limit]))),
  };
}

/** The fleet has seen batches, whose minutes are shorter here. */
async function teach(site: BenchSite, days: readonly RealDay[], learned: readonly number[]): Promise<void> {
  const redis = new Redis({ path: site.socketPath });
  const { laneDurations } = redisKeys(loadSettings().namespace);
  const seen = JSON.stringify(learned.map((ms) => Math.round(ms / SPEED)));
  for (const { name } of days) await redis.hset(laneDurations, `simulator:${name}`, seen);
  await redis.quit();
}

/** Returns once the day's provider batch is made, whose time is that of the day. */
async function begin(day: RealDay, { site, simulator, glue }: Parts): Promise<{ end: Promise<Lived> }> {
  simulator.setBatches({ durationMs: durationOf(day.share) });
  const inputPath = site.writeRows(`${day.name}.jsonl`, day.rows);
  const byAt = Date.now() + day.byMs / SPEED;
  const run = await glue.batches.run({
    inputPath,
    outputPath: join(site.folder, `${day.name}.out.jsonl`),
    model: `simulator:${day.name}`,
    by: new Date(byAt),
    lanes: ["batch", "online"],
  });
  run.start();
  const isOver = () => run.progress().missing === 0;
  const isLate = () => run.details().lanes.some(({ state }) => state === "cancelling" || state === "online");
  const isBought = () => run.details().lanes.some(({ id }) => id !== undefined);
  while (!isOver() && !isLate() && !isBought()) await delay(20);
  const outage = day.hasOutage ? failWhen(isLate, isOver, simulator) : Promise.resolve();
  const end = Promise.all([run.report(), outage]).then(([report]) => {
    const calls = simulator.journal
      .entries()
      .filter(({ model, status }) => model === day.name && status === 200);
    const paid = calls.reduce((sum, { lane }) => sum + (lane === "batch" ? BATCH_PRICE : 1), 0);
    const isInTime = report.status === "completed" && report.failed === 0 && Date.now() <= byAt;
    return { cost: paid / day.rows, isInTime };
  });
  return { end };
}

async function failWhen(isLate: () => boolean, isOver: () => boolean, simulator: Simulator): Promise<void> {
  while (!isLate() && !isOver()) await delay(20);
  simulator.setOutage({ forMs: SEASON.outageMs / SPEED });
}

function simulate({ byMs, rows, share, hasOutage }: RealDay, learned: readonly number[]): Lived {
  const account: Account = { rowsPerMinute: ROWS_PER_MINUTE, reserveMs: RESERVE_MS, seen: [...learned] };
  const outage = hasOutage ? ({ fromMs: "atReserve", forMs: SEASON.outageMs } as const) : undefined;
  const { cost, lateRows } = liveDay("by", { rows, byMs, shares: () => share, outage }, account);
  return { cost: cost / rows, isInTime: lateRows === 0 };
}
