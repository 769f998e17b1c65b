/** One run of a program over a file of rows: alone, or killed in the middle and started again. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { type Second, secondsOf } from "../limits/figures.ts";
import type { Limits } from "../limits/load.ts";
import type { Arrival, SimulatorControl } from "../limits/simulator-control.ts";
import type { BenchSite } from "../site.ts";
import { peakRssBytes } from "../threads.ts";

const LOOK_MS = 100;

export interface RowsSite {
  site: BenchSite;
  redis: Redis;
  provider: SimulatorControl;
}

/** A file, and the provider that it is worked off against. */
export interface Load {
  input: string;
  rows: number;
  /** Undefined: there are none, and answers take 0 ms. */
  limits: Limits | undefined;
  latencyMs: number;
}

export interface RowsResult {
  /** From the start of the command to its end, the second one after a kill. */
  wallMs: number;
  /** 429s. */
  rateLimited: number;
  /** Calls that the provider charged beyond one for each row. */
  paidTwice: number;
  /** Rows that have no answer in the output. */
  lost: number;
  /** Answers in the output beyond one for each row. */
  twiceInOutput: number;
  /** The most that the process had. */
  rssMb: number;
  redisMb: number;
  /** When it was killed, in seconds after its start; undefined: it was not. */
  killedAfterSeconds?: number;
  seconds: Second[];
}

export type Start = (output: string) => ChildProcess;

/** @param isKilled with SIGKILL when half of the rows were charged; the same command comes at once */
export async function runRows(
  where: RowsSite,
  load: Load,
  start: Start,
  isKilled: boolean,
): Promise<RowsResult> {
  const { site, redis, provider } = where;
  const { limits, latencyMs } = load;
  await redis.flushall();
  await provider.set("reset", {});
  await provider.set("limits", limits ?? { rpm: null, tpm: null });
  await provider.set("latency", { latencyMs, jitterMs: latencyMs / 4 });
  const output = join(site.folder, "answers.jsonl");
  for (const file of [output, `${output}.errors.jsonl`]) rmSync(file, { force: true });
  const peaks = { rssMb: 0, redisMb: 0 };
  const startedAt = Date.now();
  let killedAt: number | undefined;
  const first = start(output);
  if (isKilled) {
    const half = load.rows / 2;
    await until(first, where, peaks, async () => (await charged(provider)).length >= half);
    // One that has given up most of its rows by then is only started again.
    if (isRunning(first)) {
      const closed = once(first, "close");
      first.kill("SIGKILL");
      killedAt = Date.now();
      await closed;
    }
  }
  await until(isKilled ? start(output) : first, where, peaks, async () => false);
  const endedAt = Date.now();
  const arrivals = await provider.arrivals("bench");
  const answered = answersIn(output);
  return {
    wallMs: endedAt - startedAt,
    rateLimited: arrivals.filter(({ isLimited }) => isLimited).length,
    paidTwice: arrivals.filter(isCharged).length - new Set(arrivals.filter(isCharged).map(rowOf)).size,
    lost: load.rows - new Set(answered).size,
    twiceInOutput: answered.length - new Set(answered).size,
    ...peaks,
    ...(killedAt && { killedAfterSeconds: (killedAt - startedAt) / 1000 }),
    seconds: secondsOf(arrivals, { from: startedAt, to: endedAt + 1000 }),
  };
}

/** Resolves when the process has ended, or at the condition; keeps the most memory that was seen. */
async function until(
  child: ChildProcess,
  { redis }: RowsSite,
  peaks: { rssMb: number; redisMb: number },
  isOver: () => Promise<boolean>,
): Promise<void> {
  for (let round = 0; isRunning(child) && !(await isOver()); round++) {
    await delay(LOOK_MS);
    peaks.rssMb = Math.max(peaks.rssMb, peakRssBytes(child.pid) / 1e6);
    if (round % 5 === 0) {
      const bytes = Number(/^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1]);
      peaks.redisMb = Math.max(peaks.redisMb, bytes / 1e6);
    }
  }
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

async function charged(provider: SimulatorControl): Promise<Arrival[]> {
  return (await provider.arrivals("bench")).filter(isCharged);
}

function isCharged({ tokens }: Arrival): boolean {
  return tokens > 0;
}

function rowOf({ lastUserText }: Arrival): string {
  return lastUserText.split("\n")[0] ?? "";
}

/** The ids of the rows that have an answer, as often as they have one. */
function answersIn(output: string): string[] {
  const lines = readFileSync(output, "utf8").split("\n").filter(Boolean);
  return lines
    .map((line) => JSON.parse(line) as { custom_id: string; error?: unknown })
    .filter(({ error }) => !error)
    .map(({ custom_id }) => custom_id);
}
