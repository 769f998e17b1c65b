import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, inject, onTestFinished, test } from "vitest";
import { LEASE_LIFE_MS } from "../../src/shared/records.ts";
import { readBuys } from "../../src/store/lane-buy.ts";
import { testStore } from "../support/redis.ts";
import { sampleOf, seededRandom } from "../support/sample.ts";
import { CLAUDE_MODEL, MODEL, TestSite } from "../support/site.ts";

/* The process that buys provider batches is killed at each arrow: nothing is bought twice, every row is answered once. */

const ROWS = 12;

/** Where the process dies: at a request of its provider, before it arrives there or when its answer is on the way. */
const POINTS = [
  { name: "before the upload", call: /^POST \/v1\/files$/, when: "before", openaiOnly: true },
  { name: "after the upload", call: /^POST \/v1\/files$/, when: "after", openaiOnly: true },
  { name: "before it asks for the batch", call: /^POST \/v1\/(messages\/)?batches$/, when: "before" },
  { name: "when the batch is made", call: /^POST \/v1\/(messages\/)?batches$/, when: "after" },
  { name: "while it waits", call: /^GET \/v1\/(messages\/)?batches\/\w+$/, when: "after" },
  { name: "before it reads results", call: /\/(content|results)$/, when: "before" },
  { name: "while it takes results in", call: /\/(content|results)$/, when: "sent" },
  { name: "before it cancels", call: /\/cancel$/, when: "before", isLate: true },
  { name: "when it has cancelled", call: /\/cancel$/, when: "after", isLate: true },
] as const satisfies readonly Point[];
interface Point {
  name: string;
  call: RegExp;
  when: "before" | "after" | "sent";
  isLate?: boolean;
  openaiOnly?: boolean;
}

/** A way to the simulator on which the first call that fits ends the process. */
async function deadlyWay(target: string, { call, when }: Point, kill: () => void, random: () => number) {
  let isSpent = false;
  const server = createServer((asked, answer) => {
    const isIt = !isSpent && call.test(`${asked.method} ${asked.url?.split("?", 1)[0]}`);
    if (isIt) isSpent = true;
    if (isIt && when === "before") {
      kill();
      asked.socket.destroy();
      return;
    }
    const url = new URL(asked.url ?? "/", target);
    const headers = { ...asked.headers, host: url.host };
    const onward = send(url, { method: asked.method, headers }, (reply) => {
      if (isIt && when === "after") {
        kill();
        asked.socket.destroy();
        return;
      }
      answer.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(answer);
      if (isIt) void delay(random() * 40).then(kill);
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A site whose minutes of provider batches are milliseconds, which the plan knows from what it has seen. */
async function laneSite(model: string, durationMs: number) {
  const site = await TestSite.open(
    { batchSpeed: 1000, latencyMs: 20 },
    { GLUELLM_LANE_POLL_MS: "50", GLUELLM_LANE_RESERVE_MS: "1000" },
  );
  site.simulator.setBatches({ durationMs });
  const store = testStore(site.namespace);
  const seen = JSON.stringify(Array.from({ length: 50 }, () => 300));
  await store.redis.hset(store.keys.laneDurations, model, seen);
  site.write("in.jsonl", site.rows(ROWS));
  return { site, store };
}

/** The environment in which both dialects of the simulator are reached by another way. */
const by = (site: TestSite, way: string) => ({
  SIMULATOR_BASE_URL: `${way}/v1`,
  GLUELLM_PROVIDERS: site.env.GLUELLM_PROVIDERS?.replaceAll(site.simulator.url, way) ?? "",
});

const batchOf = (model: string) => ["batch", "run", "in.jsonl", "-o", "out.jsonl", "-m", model, "--by"];

const cases = [MODEL, CLAUDE_MODEL].flatMap((model) =>
  (POINTS as readonly Point[])
    .filter(({ openaiOnly }) => model === MODEL || !openaiOnly)
    .map((point) => ({ model, point, name: point.name })),
);

test.each(sampleOf("lane deaths", cases, 2))("$model: killed $name", async ({ model, point }) => {
  const { site, store } = await laneSite(model, point.isLate ? 1e9 : 500_000);
  await using _ = site;
  const args = batchOf(model);
  const holder: { kill: () => void } = { kill: () => {} };
  const way = await deadlyWay(site.simulator.url, point, () => holder.kill(), seededRandom(point.name));
  const run = site.startWith(by(site, way), ...args, point.isLate ? "8s" : "2h");
  holder.kill = () => run.child.kill("SIGKILL");
  const code = await run.exit;
  // A death while results come in may be too late to be one.
  if (point.when !== "sent") expect(code).toBe("SIGKILL");
  // The rest of the providers' time passes.
  site.simulator.setBatches({ durationMs: 1000 });
  const again = await site.run(...args, point.isLate ? "3s" : "2h");
  expect([again.code, again.stderr]).toEqual([0, expect.any(String)]);
  expect(site.read("out.jsonl").map(({ custom_id }) => custom_id)).toEqual(
    site.rows(ROWS).map(({ custom_id }) => custom_id),
  );
  expect([...site.paidCalls().values()]).toEqual(Array(ROWS).fill(1));
  const [id = ""] = await store.redis.zrange(store.keys.batches, "0", "-1");
  expect((await readBuys(store, id)).rows.size).toBe(0);
});

test.runIf(inject("isFull"))(
  "a process that stands still until another one has taken the batch over buys nothing more",
  async () => {
    const { site, store } = await laneSite(MODEL, 500_000);
    await using _ = site;
    const frozen: { stop: () => void } = { stop: () => {} };
    const upload: Point = { name: "the upload", call: /^POST \/v1\/files$/, when: "sent" };
    const way = await deadlyWay(
      site.simulator.url,
      upload,
      () => frozen.stop(),
      () => 0,
    );
    const run = site.startWith(by(site, way), ...batchOf(MODEL), "2h");
    const stopped = new Promise<void>((resolve) => {
      frozen.stop = () => {
        run.child.kill("SIGSTOP");
        resolve();
      };
    });
    await stopped;
    const [id = ""] = await store.redis.zrange(store.keys.batches, "0", "-1");
    // As if a process elsewhere, with files of its own, had found the lease lapsed.
    const other = { host: "elsewhere", pid: 1, startedAt: "", token: "other" };
    await store.redis.set(store.keys.batchLease(id), JSON.stringify(other), "PX", LEASE_LIFE_MS);
    run.child.kill("SIGCONT");
    expect(await run.exit).not.toBe(0);
    const made = await fetch(`${site.simulator.url}/v1/batches`, {
      headers: { authorization: "Bearer none" },
    });
    expect(await made.json()).toMatchObject({ data: [] });
    await store.redis.del(store.keys.batchLease(id));
    expect((await site.run(...batchOf(MODEL), "2h")).code).toBe(0);
    expect([...site.paidCalls().values()]).toEqual(Array(ROWS).fill(1));
  },
);
