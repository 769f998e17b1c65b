/**
 * `npm run bench:workflows`: figures of the workflow engine, and of raw BullMQ in the same run. Ratios count; the
 * machine is noisy. Names of parts choose them.
 */
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { z } from "zod";
import { startWorker } from "../src/host/one-process.ts";
import { defineWorkflow, GlueLLM, type WorkflowContext } from "../src/index.ts";
import { workflowQueue } from "../src/shared/catalog.ts";
import { createLogger } from "../src/shared/logger.ts";
import { modelRef } from "../src/shared/model-name.ts";
import { completionQueueName } from "../src/shared/queue-name.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { openStore } from "../src/store/connected-store.ts";
import { redisTarget } from "../src/store/redis-target.ts";
import { noPostgres, PostgresCluster } from "../test/support/postgres.ts";
import { callsAtATime, sumQuestion } from "./calls.ts";
import { installPeers } from "./peers/install.ts";
import { WorkflowPeer } from "./peers/workflow-peer.ts";
import { percentile } from "./percentile.ts";
import { BenchSite } from "./site.ts";

/** Of the parts that are measured in turn. */
const ROUNDS = 3;
const OPEN_STEPS = 2000;
const KB4 = "x".repeat(4096);
/** Latencies of 8 branches of 5 steps, in milliseconds. */
const LATENCIES = Array.from({ length: 8 }, (_, b) =>
  Array.from({ length: 5 }, (_, s) => 40 + ((b * 7 + s * 13) % 11) * 40),
);
const IDEAL_MS = Math.max(...LATENCIES.map((steps) => steps.reduce((sum, ms) => sum + ms)));

const kinds: Record<string, (ctx: WorkflowContext, n: number) => Promise<unknown>> = {
  local: async (ctx, n) => {
    for (let i = 0; i < n; i++) await ctx.run("step", () => i);
  },
  calls: async (ctx, n) => {
    for (let i = 0; i < n; i++) await ctx.complete("step", `step ${i}`, { maxTokens: 16 });
  },
  large: async (ctx, n) => {
    for (let i = 0; i < n; i++) await ctx.complete("step", `step ${i}\n#sim {"reply": "${KB4}"}`);
  },
  wide: (ctx, n) => Promise.all(Array.from({ length: n }, (_, i) => ctx.complete("leaf", `leaf ${i}`))),
  open: (ctx, n) =>
    Promise.all(
      Array.from({ length: n }, (_, i) => ctx.complete("leaf", `open ${i}\n#sim {"latencyMs": 600000}`)),
    ),
  branches: (ctx) =>
    Promise.all(
      LATENCIES.map(async (steps) => {
        for (const ms of steps) await ctx.complete("step", `step\n#sim {"latencyMs": ${ms}}`);
      }),
    ),
  wait: (ctx) => ctx.waitFor("never"),
};
const workflow = defineWorkflow({
  name: "bench",
  input: z.object({ kind: z.string(), n: z.number() }),
  output: z.any(),
  run: async (ctx, { kind, n }) => void (await kinds[kind]?.(ctx, n)),
});

await using site = await BenchSite.open();
const redis = new Redis({ path: site.socketPath, maxRetriesPerRequest: null });
const settings = loadSettings({
  env: {
    GLUELLM_REDIS_URL: `unix://${site.socketPath}`,
    SIMULATOR_BASE_URL: `${site.providerUrl}/v1`,
    GLUELLM_DEFAULT_MODEL: "simulator:bench",
  },
  cwd: "/",
});
const logger = createLogger({ level: "error", json: true });
const store = openStore(redisTarget(settings.redisUrl ?? "", settings.namespace), settings.namespace, logger);
const worker = await startWorker({ store, settings, logger, workflows: [workflow] });
const client = new GlueLLM({ mode: "fleet", settings, logger });

const parts: Record<string, () => Promise<void>> = {
  raw,
  sequential,
  wide,
  branches,
  large,
  long,
  suspended,
  peers,
  cancel,
};
const chosen = process.argv.slice(2);
await run("calls", 20);
for (const [name, measure] of Object.entries(parts))
  if (chosen.length === 0 || chosen.includes(name)) await measure();
await Promise.all([client.close(), worker.close()]);
store.disconnect();
redis.disconnect();

async function run(kind: string, n: number): Promise<number> {
  const startedAt = performance.now();
  await (await client.workflows.start(workflow, { kind, n })).result();
  return performance.now() - startedAt;
}

function report(what: string, value: string): void {
  console.log(`  ${what.padEnd(62)}${value.padStart(16)}`);
}

async function raw(): Promise<void> {
  const queue = new Queue("raw", { connection: redis });
  let left = 5000;
  const done = Promise.withResolvers<void>();
  const startedAt = performance.now();
  for (let i = 0; i < 5000; i += 500)
    await queue.addBulk(Array.from({ length: 500 }, () => ({ name: "raw", data: {} })));
  const connection = redis.duplicate();
  const raw = new Worker("raw", async () => {}, { connection, concurrency: 100 });
  raw.on("completed", () => --left === 0 && done.resolve());
  await done.promise;
  report("raw BullMQ, no-op jobs, jobs/s", (5e6 / (performance.now() - startedAt)).toFixed(0));
  const calls = performance.now();
  await Promise.all(Array.from({ length: 3000 }, (_, n) => client.complete(`plain ${n}`, { maxTokens: 16 })));
  report(
    "plain completions without workflows, 0 ms provider, calls/s",
    (3e6 / (performance.now() - calls)).toFixed(0),
  );
  await raw.close();
  await queue.close();
  connection.disconnect();
}

async function sequential(): Promise<void> {
  for (const kind of ["local", "calls"]) {
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: 300 }, () => run(kind, 10)));
    report(`300 runs × 10 steps (${kind}), steps/s`, (3e6 / (performance.now() - startedAt)).toFixed(0));
    const alone = await run(kind, 200);
    report(`one run alone (${kind}), ms per step`, (alone / 200).toFixed(2));
  }
}

async function wide(): Promise<void> {
  report("1,000 completions side by side, ms", (await run("wide", 1000)).toFixed(0));
  report("2,000 completions side by side, ms", (await run("wide", 2000)).toFixed(0));
}

async function branches(): Promise<void> {
  report(`8 branches × 5 steps, ms (ideal ${IDEAL_MS})`, (await run("branches", 0)).toFixed(0));
}

async function large(): Promise<void> {
  report("1,000 steps of 4 KB one after the other, ms", (await run("large", 1000)).toFixed(0));
}

async function long(): Promise<void> {
  report("5,000 completions one after the other, ms", (await run("calls", 5000)).toFixed(0));
}

async function suspended(): Promise<void> {
  const count = 10_000;
  await delay(1000);
  const [redisBefore, heapBefore] = [await redisBytes(), heapBytes()];
  for (let i = 0; i < count; i += 500) {
    await Promise.all(
      Array.from({ length: 500 }, () => client.workflows.start(workflow, { kind: "wait", n: 0 })),
    );
  }
  const queue = new Queue(workflowQueue(workflow.name), { connection: redis, prefix: "{gluellm:default}" });
  while ((await queue.getJobCountByTypes("waiting-children")) < count) await delay(100);
  await delay(1000);
  report(
    "10,000 suspended runs, Redis bytes each",
    (((await redisBytes()) - redisBefore) / count).toFixed(0),
  );
  report(
    "10,000 suspended runs (1,000 of them sticky), heap bytes each",
    ((heapBytes() - heapBefore) / count).toFixed(0),
  );
  await queue.close();
}

/** Steps beside those of Restate, DBOS and plain completions, in turn. */
async function peers(): Promise<void> {
  installPeers();
  await using restate = await WorkflowPeer.start("restate.mjs", join(site.folder, "restate"));
  await using cluster = noPostgres ? undefined : await PostgresCluster.start();
  await using dbos = cluster && (await WorkflowPeer.start("dbos.mjs", cluster.url));
  const [runs, steps] = [100, 10];
  const all = runs * steps;
  const ours = (kind: string) => async () => {
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: runs }, () => run(kind, steps)));
    return performance.now() - startedAt;
  };
  const plain = (width: number) => () =>
    callsAtATime(
      width,
      all,
      async (n) => (await client.complete(sumQuestion(n), { maxTokens: 16 })).finalResponse,
    );
  const sides: Record<string, () => Promise<number>> = {
    "gluellm, local steps": ours("local"),
    "Restate, ctx.run": () => restate.run("local", runs, steps),
    ...(dbos && { "DBOS, runStep": () => dbos.run("local", runs, steps) }),
    "gluellm, call steps (whole provider calls)": ours("calls"),
    "plain completions, 100 at a time": plain(runs),
    "Restate, calls of a service that does nothing": () => restate.run("calls", runs, steps),
    ...(dbos && { "DBOS, child workflows that do nothing": () => dbos.run("calls", runs, steps) }),
    "gluellm, 1,000 completions side by side in a run": () => run("wide", all),
    "the same without a workflow": plain(all),
  };
  const took = new Map(Object.keys(sides).map((side) => [side, [] as number[]]));
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++)
    for (const [side, measure] of Object.entries(sides)) {
      const ms = await measure();
      if (round > 0) took.get(side)?.push(ms);
      console.log(`    ${round} ${side}: ${ms.toFixed(0)} ms`);
    }
  console.log(`  1,000 steps, medians of ${ROUNDS} rounds in turn, load average ${loadavg()[0]?.toFixed(0)}`);
  for (const [side, values] of took) {
    const rounds = values.map((ms) => (all / ms) * 1000).map((perSecond) => perSecond.toFixed(0));
    report(side, `${((all / percentile(values, 50)) * 1000).toFixed(0)}/s (${rounds.join(" ")})`);
  }
}

/** How long it takes to add steps, and to cancel the run when none of them has ended. */
async function cancel(): Promise<void> {
  const name = completionQueueName(modelRef("simulator", "bench"));
  const queue = new Queue(name, { connection: redis, prefix: "{gluellm:default}" });
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    const handle = await client.workflows.start(workflow, { kind: "open", n: OPEN_STEPS });
    const result = handle.result().catch(() => {});
    const open = () => queue.getJobCountByTypes("active", "waiting", "prioritized", "delayed");
    while ((await open()) < OPEN_STEPS) await delay(5);
    const addedAt = performance.now();
    await handle.cancel();
    await result;
    while ((await open()) > 0) await delay(5);
    const [addMs, cancelMs] = [addedAt - startedAt, performance.now() - addedAt];
    ratios.push(cancelMs / addMs);
    report(`${OPEN_STEPS} open steps: added, cancelled, ms`, `${addMs.toFixed(0)}, ${cancelMs.toFixed(0)}`);
  }
  report("ratio, median", percentile(ratios, 50).toFixed(2));
  await queue.close();
}

async function redisBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1] ?? 0);
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
