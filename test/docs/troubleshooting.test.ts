import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { Queue } from "bullmq";
import { describe, expect, onTestFinished, test } from "vitest";
import type { SimulatorOptions } from "../../src/simulator/simulator.ts";
import { runCli } from "../support/cli.ts";
import { openDashboard, send } from "../support/dashboard.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { testSource, troubleRows } from "../support/troubleshooting.ts";
import { waitFor } from "../support/wait-for.ts";

const OWN = "test/docs/troubleshooting.test.ts";

async function openSite(options: SimulatorOptions = {}, env: Record<string, string> = {}): Promise<TestSite> {
  const site = await TestSite.open(options, env);
  onTestFinished(() => site[Symbol.asyncDispose]());
  return site;
}

async function said(site: TestSite, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await site.run(...args);
  return stdout + stderr;
}

/** A listening socket that never says anything. */
async function silentPort(): Promise<number> {
  const server = createServer(() => {});
  onTestFinished(() => void server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** What a batch of these prompts says. */
async function batchSays(prompts: readonly string[], env = {}, ...more: string[]): Promise<string> {
  const site = await openSite({}, env);
  site.write(
    "in.jsonl",
    prompts.map((prompt, n) => ({ custom_id: `row-${n}`, prompt })),
  );
  return said(site, ...site.batch(...more));
}

/** What `gluellm queues` says while a worker meets a provider that answers every call so. */
async function queuesSay(pattern: RegExp, fault: string, env: Record<string, string> = {}): Promise<string> {
  const site = await openSite({ faults: { [fault]: 1 } } as SimulatorOptions, env);
  const client = siteClient(site, { mode: "local" });
  for (let n = 0; n < 5; n++) await client.enqueue(`question ${n}`, { model: MODEL });
  return waitFor("the reason", async () => {
    const text = await said(site, "queues");
    return pattern.test(text) ? text : undefined;
  });
}

const PRICES = JSON.stringify({ [MODEL]: { inputPerMillion: 1000, outputPerMillion: 1000 } });

/** By the row's symptom: produces it, and returns what was said. */
const CASES: Record<string, () => Promise<string>> = {
  "OPENAI_API_KEY is not set": async () =>
    said(await openSite(), "complete", "hi", "-m", "openai:gpt-4o-mini"),
  "unknown model": async () => said(await openSite(), "complete", "hi", "-m", "openai:gpt-4o-mni"),
  EADDRINUSE: async () => said(await openSite(), "dashboard", "--port", String(await silentPort())),
  "Open the link that": async () =>
    (await send((await openDashboard({ token: "0".repeat(64) })).url.split("?")[0] ?? "")).text,
  "comes from .env while": async () => {
    const site = await openSite({}, { OPENAI_API_KEY: "sk-of-the-shell" });
    mkdirSync(site.folder, { recursive: true });
    writeFileSync(site.path(".env"), "GLUELLM_DATA_DIR=/tmp/elsewhere\n");
    const { GLUELLM_REDIS_URL: _, ...env } = site.env;
    const { stdout, stderr } = await runCli(["queues"], env, site.folder);
    return stdout + stderr;
  },
  "batch stopped (authentication)": () => batchSays([0, 1, 2, 3].map((n) => `q ${n}\n#sim {"error": "401"}`)),
  "batch stopped (cost_limit)": () =>
    batchSays(["one", "two"], { GLUELLM_PRICES: PRICES }, "--max-cost", "0.00001"),
  "(send them again with --retry-failed": () => batchSays(["fine", 'bad\n#sim {"error": "400"}']),
  "its circuit breaker: the provider failed": () =>
    queuesSay(/its circuit breaker/, "503", {
      GLUELLM_CIRCUIT_BREAKER_MIN_CALLS: "2",
      GLUELLM_CIRCUIT_BREAKER_COOLDOWN_MS: "600000",
    }),
  "the provider's pause, ": async () => {
    const { site, queue } = await openQueue();
    await queue.rateLimit(60_000);
    return said(site, "queues");
  },
  "one call per minute tests it": async () => {
    const { site, store } = await openQueue();
    await store.redis.hset(store.keys.pause(MODEL), {
      until: Date.now() + 3_600_000,
      reason: "quota",
      testAt: Date.now() + 60_000,
    });
    return said(site, "queues");
  },
  "an operator's resume": async () => {
    const { site, queue } = await openQueue();
    await queue.pause();
    return said(site, "queues");
  },
  "a worker with provider entry": async () => said((await openQueue()).site, "queues"),
  "does not answer within 5 s": async () => {
    const site = await openSite({}, { GLUELLM_REDIS_URL: `redis://127.0.0.1:${await silentPort()}` });
    return said(site, "queues");
  },
};

/** A queue with a job that waits. */
async function openQueue() {
  const site = await openSite();
  const store = testStore(site.namespace);
  await siteClient(site).enqueue("later", { model: MODEL });
  const queue = new Queue("completions.simulator.test", {
    connection: store.redis,
    prefix: store.keys.prefix,
  });
  onTestFinished(() => queue.close());
  return { site, store, queue };
}

const rows = troubleRows();

test("every row of the table names a test that sees its symptom", () => {
  expect(rows.length).toBeGreaterThan(30);
  expect(
    rows
      .filter(({ test }) => test === OWN)
      .map(({ symptom }) => symptom)
      .sort(),
  ).toEqual(Object.keys(CASES).sort());
  for (const { symptom, test } of rows) {
    if (test !== OWN) expect(testSource(test).includes(symptom), `${test}: ${symptom}`).toBe(true);
  }
});

describe("a symptom is what the program says", () => {
  test.each(Object.keys(CASES))("%s", async (symptom) => {
    expect(await CASES[symptom]?.()).toContain(symptom);
  });
});
