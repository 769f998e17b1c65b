import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { loadSettings } from "../src/shared/settings.ts";
import { redisKeys } from "../src/store/redis-keys.ts";
import { percentile } from "./percentile.ts";
import { BenchSite } from "./site.ts";
import { threadsMsOf } from "./threads.ts";

const QUEUES = 100;
const MEASURED_MS = 30_000;
/** Until queues that had a job are let go, and what started has been collected. */
const SETTLE_MS = 90_000;
const STARTS = 9;
const BIN = join(import.meta.dirname, "../bin/gluellm.js");

/** What a worker costs that has nothing to do, and how long processes take to start. */
export async function idle(): Promise<void> {
  await using site = await BenchSite.open();
  const redis = new Redis({ path: site.socketPath });
  const keys = redisKeys(loadSettings({ env: site.processEnv, cwd: "/" }).namespace);
  await starts(site, redis, keys.workers);
  const now = JSON.stringify({ registeredAt: Date.now() });
  for (let n = 0; n < QUEUES; n++) await redis.hset(keys.queues, `completions.simulator.quiet-${n}`, now);
  const worker = site.command(["worker"], {});
  await appears(redis, keys.workers);
  await delay(SETTLE_MS);
  const [cpuMs, commands] = [threadsMsOf(worker.pid), await commandsOf(redis)];
  await delay(MEASURED_MS);
  const seconds = MEASURED_MS / 1000;
  const cpu = (threadsMsOf(worker.pid) - cpuMs) / MEASURED_MS;
  // The second look at the counter is not the worker's.
  const perSecond = ((await commandsOf(redis)) - commands - 1) / seconds;
  // Less than this one.
  const connections =
    String(await redis.client("LIST"))
      .trim()
      .split("\n").length - 1;
  console.log(`\nA worker with ${QUEUES} quiet queues`);
  console.log(
    `  CPU ${(cpu * 100).toFixed(2)} %, ${connections} Redis connections, ${perSecond.toFixed(1)} commands/s`,
  );
  console.log(`  RSS ${(rssBytes(worker.pid) / 1e6).toFixed(0)} MB`);
  worker.kill();
  redis.disconnect();
}

/** Wall and CPU time of each, in turn; the second hardly depends on what else the machine does. */
async function starts(site: BenchSite, redis: Redis, workers: string): Promise<void> {
  const kinds: Record<string, () => Promise<{ ms: number; cpuMs: number }>> = {
    "node -e 0": async () => timeOf(["-e", "0"]),
    "gluellm --version": async () => timeOf([BIN, "--version"]),
    "gluellm worker, until it is ready": async () => {
      await redis.del(workers);
      const startedAt = performance.now();
      const { child, exit } = site.run(BIN, ["worker"]);
      await appears(redis, workers);
      const times = { ms: performance.now() - startedAt, cpuMs: threadsMsOf(child.pid) };
      child.kill();
      await exit;
      return times;
    },
  };
  const times = new Map(Object.keys(kinds).map((kind) => [kind, [] as { ms: number; cpuMs: number }[]]));
  // The first ones compile.
  for (let round = -1; round < STARTS; round++)
    for (const [kind, start] of Object.entries(kinds)) {
      const time = await start();
      if (round >= 0) times.get(kind)?.push(time);
    }
  console.log(`\nStarts, medians of ${STARTS}      ms  times node   CPU ms  times node`);
  const bare = mediansOf(times.get("node -e 0") ?? []);
  for (const [kind, all] of times) {
    const { ms, cpuMs } = mediansOf(all);
    const figures = [
      ms.toFixed(0),
      (ms / bare.ms).toFixed(1),
      cpuMs.toFixed(0),
      (cpuMs / bare.cpuMs).toFixed(1),
    ];
    console.log(`  ${kind.padEnd(34)}${figures.map((figure) => figure.padStart(8)).join("")}`);
  }
}

function mediansOf(times: readonly { ms: number; cpuMs: number }[]) {
  const median = (read: (time: { ms: number; cpuMs: number }) => number) => percentile(times.map(read), 50);
  return { ms: median(({ ms }) => ms), cpuMs: median(({ cpuMs }) => cpuMs) };
}

function timeOf(args: string[]): { ms: number; cpuMs: number } {
  const startedAt = performance.now();
  const before = childrenCpuMs();
  spawnSync(process.execPath, args, { stdio: "ignore" });
  return { ms: performance.now() - startedAt, cpuMs: childrenCpuMs() - before };
}

/** CPU of this process's children that have ended and were waited for. */
function childrenCpuMs(): number {
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

/** The worker tells what it can run once it takes jobs. */
async function appears(redis: Redis, workers: string): Promise<void> {
  while ((await redis.scard(workers)) === 0) await delay(5);
}

async function commandsOf(redis: Redis): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await redis.info("stats"))?.[1]);
}

function rssBytes(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
