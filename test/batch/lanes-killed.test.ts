import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
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
] as const;
type Point = (typeof POINTS)[number] & { isLate?: boolean; openaiOnly?: boolean };

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

const cases = [MODEL, CLAUDE_MODEL].flatMap((model) =>
  (POINTS as readonly Point[])
    .filter(({ openaiOnly }) => model === MODEL || !openaiOnly)
    .map((point) => ({ model, point, name: point.name })),
);

test.each(sampleOf("lane deaths", cases, 2))("$model: killed $name", async ({ model, point }) => {
  await using site = await TestSite.open(
    { batchSpeed: 1000, latencyMs: 20 },
    {
      GLUELLM_LANE_POLL_MS: "50",
      GLUELLM_LANE_RESERVE_MS: "1000",
    },
  );
  site.simulator.setBatches({ durationMs: point.isLate ? 1e9 : 500_000 });
  const store = testStore(site.namespace);
  const seen = JSON.stringify(Array.from({ length: 50 }, () => 300));
  await store.redis.hset(store.keys.laneDurations, model, seen);
  site.write("in.jsonl", site.rows(ROWS));
  const args = ["batch", "run", "in.jsonl", "-o", "out.jsonl", "-m", model, "--by"];
  const holder: { kill: () => void } = { kill: () => {} };
  const way = await deadlyWay(site.simulator.url, point, () => holder.kill(), seededRandom(point.name));
  const run = site.startWith(
    {
      SIMULATOR_BASE_URL: `${way}/v1`,
      GLUELLM_PROVIDERS: site.env.GLUELLM_PROVIDERS?.replaceAll(site.simulator.url, way) ?? "",
    },
    ...args,
    point.isLate ? "8s" : "2h",
  );
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
