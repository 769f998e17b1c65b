import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { GlueLLM, type Schedule, type ScheduleTick } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { startNode } from "../support/processes.ts";
import { testRedis } from "../support/redis.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { tick } from "../support/schedule-workflows.ts";
import { MODEL, SHORT_LOCKS, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = join(import.meta.dirname, "../support/schedule-workflows.ts");
const WORKER = join(import.meta.dirname, "../support/workflow-worker.ts");
/** Between an answer and its record, on a busy machine. */
const RECORDED_MS = 1000;
const KILLED = join(import.meta.dirname, "../support/killed-ticker.ts");

async function open(variables: Record<string, string> = {}) {
  const site = await TestSite.open(
    { latencyMs: 5 },
    { GLUELLM_DEFAULT_MODEL: MODEL, ...SHORT_LOCKS, ...variables },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const client = new GlueLLM({ mode: "fleet", settings: loadSettings({ env: site.env, cwd: "/" }) });
  onTestFinished(() => client.close());
  const spawn = (script: string, ...args: string[]): ChildProcess => {
    const { child } = startNode([script, MODULE, ...args], { env: site.env });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  };
  /** Calls by what they ask. */
  const paid = () => {
    const calls = new Map<string, number>();
    for (const { lastUserText } of site.simulator.journal.entries())
      calls.set(lastUserText, (calls.get(lastUserText) ?? 0) + 1);
    return calls;
  };
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const keys = redisKeys(site.namespace);
  const kills: { at: number; results: Set<string> }[] = [];
  /** Notes what was paid for when a worker died. */
  const died = async (child: ChildProcess) => {
    await waitFor("its end", () => child.exitCode !== null || child.signalCode !== null);
    kills.push({ at: Date.now(), results: new Set(await redis.keys(keys.result("*"))) });
  };
  /** Returns how many calls of these ticks were repeated, each of which must have been in flight when a worker died. */
  const repeats = async (ticks: readonly ScheduleTick[]): Promise<number> => {
    let repeated = 0;
    for (const { id = "" } of ticks) {
      await client.workflows.open(id).result();
      const steps = await client.workflows.open(id).steps();
      const result = keys.result(steps[0]?.job ?? "");
      expect(await redis.exists(result)).toBe(1);
      const times = site.simulator.journal
        .entries()
        .filter(({ lastUserText }) => lastUserText === `run ${id}`)
        .map(({ at }) => at);
      for (const [n, time] of times.slice(1).entries()) {
        const between = kills.filter(({ at }) => at > (times[n] ?? 0) && at < time);
        expect(between.some(({ results }) => !results.has(result))).toBe(true);
        repeated++;
      }
    }
    return repeated;
  };
  /** Waits until all is over that was under way when the schedules were paused: a tick whose worker died is taken once more. */
  const settled = () =>
    waitFor(
      "nothing under way",
      async () => {
        const ticks = ["active", "wait"].map((list) => redis.llen(`${keys.prefix}:schedules:${list}`));
        const schedules = await client.schedules.list();
        return (
          (await Promise.all(ticks)).every((count) => count === 0) &&
          schedules.every(({ running }) => running.length === 0)
        );
      },
      120_000,
    );
  /** Waits until the ticks of workers that died have begun their runs: of a schedule that is paused they would wait. */
  const madeUpFor = (id: string, everyMs: number) =>
    waitFor(
      `no hole in the ticks of ${id}`,
      async () => {
        const times = startedOf(await client.schedules.get(id)).map(({ plannedAt }) => plannedAt.getTime());
        times.sort();
        return times.every((time, n) => time === (times[0] ?? 0) + n * everyMs);
      },
      120_000,
    );
  return { client, spawn, paid, died, repeats, settled, madeUpFor, site };
}

function startedOf({ ticks }: Schedule) {
  return ticks.filter(({ outcome }) => outcome === "started");
}

test.each(["taken", "decided", "started", "noted"])(
  "workers killed when a tick is %s: each tick once",
  async (point) => {
    const { client, spawn, paid, died, repeats, settled, madeUpFor } = await open();
    const { schedules } = client;
    const options = { overlap: "queue", catchUp: "all" } as const;
    await schedules.create({ id: "w", workflow: tick, input: {}, everyMs: 2000, ...options });
    for (let n = 1; n <= 3; n++) {
      const child = spawn(KILLED, point, `${n}`);
      await died(child);
    }
    spawn(WORKER);
    const before = (await schedules.get("w")).counts.started;
    await waitFor(
      "further ticks",
      async () => (await schedules.get("w")).counts.started >= before + 3,
      120_000,
    );
    await madeUpFor("w", 2000);
    await schedules.pause("w");
    // Ticks that still wait begin when it goes on.
    await settled();
    const ticks = startedOf(await schedules.get("w"));
    const times = ticks.map(({ plannedAt }) => plannedAt.getTime()).sort();
    // Each tick, without a hole.
    expect(times).toEqual(times.map((_, n) => (times[0] ?? 0) + n * 2000));
    // The run before may be on when a worker dies.
    expect(await repeats(ticks)).toBeLessThanOrEqual(3);
    expect([...paid().keys()].sort()).toEqual(ticks.map(({ id }) => `run ${id}`).sort());
  },
);

test("workers killed at any time: each tick of a workflow and of a completion once", async () => {
  const { site, client, spawn, paid, died, repeats, settled, madeUpFor } = await open();
  const { schedules } = client;
  const options = { everyMs: 1000, overlap: "allow", catchUp: "all" } as const;
  await schedules.create({ id: "w", workflow: tick, input: {}, ...options });
  await schedules.create({ id: "c", completion: "completion", ...options });
  const workers = [1, 2, 3].map(() => spawn(WORKER));
  let inFlight = 0;
  for (let kill = 0; kill < 12; kill++) {
    const calls = site.simulator.journal.entries().length;
    await waitFor("more calls", () => site.simulator.journal.entries().length > calls + (kill % 3));
    const worker = workers.shift() as ChildProcess;
    worker.kill("SIGKILL");
    const justNow = Date.now() - RECORDED_MS;
    inFlight += site.simulator.journal
      .entries()
      .filter(({ finishedAt }) => (finishedAt ?? Number.POSITIVE_INFINITY) > justNow).length;
    await died(worker);
    workers.push(spawn(WORKER));
  }
  await Promise.all([madeUpFor("w", 1000), madeUpFor("c", 1000)]);
  await Promise.all([schedules.pause("w"), schedules.pause("c")]);
  await settled();
  const [w, c] = await schedules.list();
  const ofWorkflow = await repeats(startedOf(w as Schedule));
  for (const [schedule, ticks] of [
    [w, startedOf(w as Schedule)],
    [c, startedOf(c as Schedule)],
  ] as const) {
    const times = ticks.map(({ plannedAt }) => plannedAt.getTime()).sort();
    expect(new Set(times).size).toBe(times.length);
    expect(times).toEqual(times.map((_, n) => (times[0] ?? 0) + n * 1000));
    expect(new Set(ticks.map(({ id }) => id)).size).toBe(schedule?.counts.started);
  }
  const ofCompletion = (paid().get("completion") ?? 0) - (c?.counts.started ?? 0);
  console.log(
    `${w?.counts.started} + ${c?.counts.started} ticks, 12 kills: ${ofWorkflow + ofCompletion} calls repeated (in flight at a kill)`,
  );
  expect(ofWorkflow + ofCompletion).toBeLessThanOrEqual(inFlight);
});

test("Redis killed again and again: each tick once", async () => {
  const settings = { appendonly: "yes", appendfsync: "always" };
  const server = await startRedisServer(settings);
  const { client, spawn, paid } = await open({ GLUELLM_REDIS_URL: `redis://127.0.0.1:${server.port}` });
  const { schedules } = client;
  await schedules.create({
    id: "w",
    workflow: tick,
    input: {},
    everyMs: 1000,
    overlap: "queue",
    catchUp: "all",
  });
  spawn(WORKER);
  spawn(WORKER);
  let { child } = server;
  for (let kill = 1; kill <= 4; kill++) {
    const started = (await schedules.get("w")).counts.started;
    await waitFor("ticks", async () => (await schedules.get("w")).counts.started > started + 1);
    child.kill("SIGKILL");
    ({ child } = await startRedisServer({ ...settings, port: `${server.port}`, dir: server.folder }));
  }
  const { started } = (await schedules.get("w")).counts;
  await waitFor(
    "further ticks",
    async () => (await schedules.get("w")).counts.started >= started + 3,
    120_000,
  );
  await schedules.pause("w");
  await waitFor("no run under way", async () => (await schedules.get("w")).running.length === 0);
  const ticks = startedOf(await schedules.get("w"));
  const times = ticks.map(({ plannedAt }) => plannedAt.getTime()).sort();
  expect(times).toEqual(times.map((_, n) => (times[0] ?? 0) + n * 1000));
  for (const { id = "" } of ticks) await client.workflows.open(id).result();
  const repeated = [...paid().values()].reduce((sum, calls) => sum + calls - 1, 0);
  console.log(`${ticks.length} ticks, 4 kills of Redis: ${repeated} calls repeated`);
  expect([...paid().keys()].sort()).toEqual(ticks.map(({ id }) => `run ${id}`).sort());
  expect(repeated).toBe(0);
});
