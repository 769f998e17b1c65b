import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { HistoryConsumer } from "../../src/history/consumer.ts";
import { rowCounts } from "../../src/history/lists.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { defineWorkflow, GlueLLM } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { namespaceKeys } from "../../src/store/namespace-keys.ts";
import type { Store } from "../../src/store/store.ts";
import { saveTenant } from "../../src/store/tenant.ts";
import { makeKey } from "../support/api.ts";
import { runCli } from "../support/cli.ts";
import { isEncrypted, testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/** All that Redis has in a namespace, key by key, as text. */
async function contents(store: Store): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const { redis } = store;
  for await (const { key, type } of namespaceKeys(store)) {
    const read = {
      string: () => redis.get(key),
      hash: async () => Object.entries(await redis.hgetall(key)).sort(),
      list: () => redis.lrange(key, 0, -1),
      set: () => redis.smembers(key),
      zset: () => redis.zrange(key, "0", "-1"),
      stream: () => redis.xrange(key, "-", "+"),
    }[type];
    // One whose time has come meanwhile has no type.
    if (read) found.set(key, JSON.stringify(await read()));
  }
  return found;
}

function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).includes(text));
}

const letter = defineWorkflow({
  name: "letter",
  input: z.string(),
  output: z.string(),
  run: async (ctx, about) => (await ctx.complete("write", about)).finalResponse,
});

// It looks for texts in Redis.
test.skipIf(isEncrypted)(
  "a tenant, a conversation and a run are removed from Redis, history and files, and nothing of others",
  {
    tags: "long",
  },
  async () => {
    await using site = await TestSite.open();
    const env = {
      ...site.env,
      ...{ GLUELLM_HISTORY: "true", GLUELLM_HISTORY_CONTENT: "full", GLUELLM_DATA_DIR: site.folder },
    };
    const settings = loadSettings({ env, cwd: "/" });
    const store = testStore(settings.namespace);
    const logger = createLogger({ level: "silent", json: true });
    const consumer = new HistoryConsumer({ store, settings, logger, idleMs: 20 });
    await waitFor("ends are written down", () => store.redis.hexists(store.keys.outbox, "history"));
    const clients = ["red", "blue"].map(
      (tenant) => new GlueLLM({ model: MODEL, mode: "local", settings, tenant, workflows: [letter] }),
    );
    const work = async (glue: GlueLLM | undefined, canary: string) => {
      if (!glue) throw new Error("no client");
      await glue.complete(`${canary} ${"long ".repeat(5000)}`, { cache: true });
      await (await glue.enqueue(canary, { idempotencyKey: `key-${canary}`, stream: true })).result();
      await glue.complete(`#sim {"error":"400"}\n${canary}`).catch(() => {});
      const talk = glue.conversation({ id: "talk" });
      await talk.complete(`hello ${canary}`);
      const run = await glue.workflows.start(letter, `a letter ${canary}`);
      await run.result();
      return run.id;
    };
    const [red, blue] = clients;
    await work(red, "canary-of-red");
    const blueRun = await work(blue, "canary-of-blue");
    const key = await makeKey(store, { tenant: "red" });
    await saveTenant(store, "red", { weight: 2 });
    await saveTenant(store, "blue", { weight: 2 });
    await Promise.all(clients.map((client) => client.close()));
    const history = await openHistory(settings);
    onTestFinished(() => history.close());
    await waitFor("all is in SQL", async () => (await rowCounts(history)).jobs === 10);
    await consumer.close();

    const purge = (...words: string[]) => runCli(["purge", ...words], env, site.folder);
    const before = await contents(store);
    expect([...before.values()].join()).toContain("canary-of-red");
    expect(filesWith(site.folder, "canary-of-red")).not.toEqual([]);
    const dry = await purge("--tenant", "red", "--dry-run", "--json");
    expect(JSON.parse(dry.stdout)).toMatchObject({ isDryRun: true, objects: { job: 6, run: 1, key: 1 } });
    const looked = await contents(store);
    for (const [name, text] of before) if (text.includes("canary")) expect(looked.get(name)).toBe(text);

    const done = await purge("--tenant", "red", "--json");
    expect([done.code, done.stderr]).toEqual([0, ""]);
    expect(JSON.parse(done.stdout)).toMatchObject({ left: [], rows: { jobs: 5, runs: 1 } });
    const after = await contents(store);
    for (const [name, text] of after) {
      expect(`${name} ${text}`).not.toContain("canary-of-red");
      expect(`${name} ${text}`).not.toContain(key.id);
    }
    expect([...after.keys()].filter((name) => /\bred\b/.test(name))).toEqual([]);
    expect(filesWith(site.folder, "canary-of-red")).toEqual([]);
    expect(await rowCounts(history)).toMatchObject({ jobs: 5, runs: 1 });
    // Records, journals, conversations and blobs of the other tenant are as they were.
    const isKept = (name: string) => /:(result|workflow|conversation|blob|idempotency[^:]*):/.test(name);
    const others = [...before].filter(([name, text]) => isKept(name) && text.includes("blue"));
    expect(others.length).toBeGreaterThan(4);
    for (const [name, text] of others) expect([name, after.get(name)]).toEqual([name, text]);

    // A part of something whole is refused, and so is what is not there.
    const [step] = JSON.parse((await contents(store)).get(store.keys.workflowJournal(blueRun)) ?? "[]")
      .map((entry: string) => JSON.parse(entry).job)
      .filter(Boolean);
    expect(await purge("--job", step)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is a part of"),
    });
    expect((await purge("--run", blueRun, "--json")).code).toBe(0);
    expect((await purge("--conversation", "blue/talk")).stdout).toContain("a search finds nothing of it");
    const rest = [...(await contents(store))].map(([name, text]) => `${name} ${text}`).join("\n");
    expect(rest).not.toContain("hello canary-of-blue");
    expect(rest).not.toContain("a letter canary-of-blue");
    expect(rest).toContain("canary-of-blue");
    expect(await purge("--run", blueRun)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("there is no run"),
    });
  },
);
