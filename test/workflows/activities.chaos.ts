import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import type { WorkflowHandle } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import { readRunJournal } from "../../src/store/run-journal.ts";
import { readRun } from "../../src/store/run-record.ts";
import { LIMIT, portions } from "../support/chaos-activities.ts";
import { startNode } from "../support/processes.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** `npm run test:chaos`: activities, and limits of runs, while all that takes part in them is killed. */
const [RUNS, KILLS, STOPS, STARTERS, REDIS_KILLS] = [30, 24, 3, 4, 2];
/** Longer than a lock lasts. */
const STOPPED_MS = 6000;
const STARTER = join(import.meta.dirname, "../support/killed-starter.ts");
const HOUR_MS = 3_600_000;

async function chaosSite() {
  let server = await startRedisServer({ appendonly: "yes" });
  const { port, folder } = server;
  const url = `redis://127.0.0.1:${port}`;
  const site = await workflowSite({}, { ...SHORT_LOCKS, GLUELLM_REDIS_URL: url });
  const store = openStore(
    redisTarget(url, site.settings.namespace),
    site.settings.namespace,
    createLogger({ level: "silent", json: true }),
  );
  onTestFinished(() => store.disconnect());
  /** As by the kernel: what was written stays. */
  const killRedis = async (): Promise<RedisServer> => {
    server.child.kill("SIGKILL");
    await waitFor("its end", () => server.child.signalCode !== null);
    server = await startRedisServer({ appendonly: "yes", port: `${port}`, dir: folder });
    return server;
  };
  return { ...site, store, killRedis };
}

type Site = Awaited<ReturnType<typeof chaosSite>>;

test("workers, starters and Redis killed and stopped at any point: every result right, none lost, no place leaked", async () => {
  const site = await chaosSite();
  const { runs, spawnWorker, killRedis } = site;
  const spawn = () => spawnWorker("chaos-activities.ts", "workflows");
  const workers = await Promise.all([spawn(), spawn(), spawn()]);
  const handles = new Map<string, WorkflowHandle>();
  /** Of the debounced runs: the last input that was accepted. */
  const lastInputs = new Map<string, number>();

  const startOne = async () => {
    const id = `run-${handles.size}`;
    handles.set(id, await runs.start(portions, { id, of: `key ${handles.size % 3}` }, { runId: id }));
  };
  const starters = Array.from({ length: STARTERS }, (_, n) => killedStarter(site, `starter-${n}`));
  const stopped: Promise<void>[] = [];
  const blows = KILLS + STOPS + REDIS_KILLS;
  for (let blow = 0; blow < blows; blow++) {
    if (handles.size < RUNS) await startOne();
    await delay(Math.random() * 500);
    if (blow % 12 === 11) {
      await killRedis();
      continue;
    }
    const [victim] = workers.splice(blow % workers.length, 1);
    if (!victim) continue;
    if (blow % 9 === 8) stopped.push(stopFor(victim));
    else victim.kill("SIGKILL");
    workers.push(await spawn());
  }
  while (handles.size < RUNS) await startOne();
  await Promise.all(stopped);
  for (const { accepted, attempted, debounced } of await Promise.all(starters)) {
    for (const id of [...accepted, attempted]) {
      // What was accepted is there; what was not is started again, as its caller would.
      const of = `key ${Number(id.split("-").at(-1)) % 3}`;
      handles.set(id, await runs.start(portions, { id, of }, { runId: id }));
    }
    for (const [id, n] of debounced) lastInputs.set(id, Math.max(n, lastInputs.get(id) ?? 0));
  }
  for (const [id, run] of handles) await run.signal("go", `gone ${id}`, { dedupeId: "go" });

  for (const [id, run] of handles) {
    const expected = [...[1, 2, 3, 4].map((n) => `${id}:${n}`), `gone ${id}`];
    expect(await run.result({ timeoutMs: 240_000 }), id).toEqual(expected);
    const ended = (await readRunJournal(site.store, id)).filter(({ type }) => type === "ended");
    expect(ended, `the ends of ${id}`).toHaveLength(5);
  }
  for (const [id, n] of lastInputs) {
    const [, began = ""] =
      /^last:(\d+)$/.exec((await runs.open(id).result({ timeoutMs: 240_000 })) as string) ?? [];
    // Its starter may have been killed before it heard of the last one.
    expect(Number(began), id).toBeGreaterThanOrEqual(n);
  }
  await expectNoMoreThanTheLimit(site, [...handles.keys()]);
  await expectNothingLeft(site);
  console.log(
    `${handles.size} runs, ${lastInputs.size} debounced ones, ${KILLS} workers and ${STARTERS} starters killed, ${STOPS} stopped, Redis killed ${REDIS_KILLS} times`,
  );
}, 900_000);

/** Starts runs until it is killed; what it was told is accepted. */
async function killedStarter({ site }: Site, prefix: string) {
  const { child, stdout } = startNode([STARTER, prefix], { env: site.env });
  await waitFor("some starts", () => stdout().split("\n").length > 6 + Math.random() * 6);
  child.kill("SIGKILL");
  await waitFor("its end", () => child.signalCode !== null);
  const lines = stdout().trim().split("\n");
  const accepted = lines.filter((line) => !line.includes(" "));
  const debounced = lines.flatMap((line) => {
    const [id = "", n] = line.split(" ");
    return n === undefined ? [] : [[id, Number(n)] as const];
  });
  return { accepted, attempted: `${prefix}-${accepted.length}`, debounced };
}

/** Held up beyond its locks, then let go on: its late words must change nothing. */
async function stopFor(child: ChildProcess): Promise<void> {
  child.kill("SIGSTOP");
  await delay(STOPPED_MS);
  child.kill("SIGCONT");
}

/** From its begin to its end each run has one of the places of its key. */
async function expectNoMoreThanTheLimit({ store }: Site, ids: readonly string[]): Promise<void> {
  const spans = await Promise.all(ids.map((id) => readRun(store, id)));
  for (const of of ["key 0", "key 1", "key 2"]) {
    const ofKey = spans.filter((run) => (run?.input as { of: string } | undefined)?.of === of);
    const changes = ofKey.flatMap((run) => [
      { at: run?.begunAt ?? Number.NaN, by: 1 },
      { at: run?.finishedAt ?? Number.NaN, by: -1 },
    ]);
    // The end of one and the begin of the next may be of one millisecond.
    changes.sort((a, b) => a.at - b.at || a.by - b.by);
    let [now, most] = [0, 0];
    for (const { at, by } of changes) {
      expect(Math.abs(Date.now() - at)).toBeLessThan(HOUR_MS);
      now += by;
      most = Math.max(most, now);
    }
    expect(most, of).toBe(LIMIT);
  }
}

async function expectNothingLeft({ store, runs }: Site): Promise<void> {
  await waitFor("no activity open", async () => (await runs.activities()).every(({ open }) => open === 0));
  const left = await store.redis.keys(`${store.keys.prefix}:workflow-limit:*`);
  expect(left.filter((key) => /:(holders|waiting|run)$/.test(key))).toEqual([]);
  expect(await store.redis.hlen(store.keys.workflowLimits)).toBe(0);
}
