import { expect, onTestFinished, test } from "vitest";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { openDashboard, send } from "../support/dashboard.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { chain } from "../support/test-workflows.ts";
import { waitFor } from "../support/wait-for.ts";

const SECRET = "who killed Laura Palmer?";

async function openBoard() {
  const site = await TestSite.open();
  onTestFinished(() => site[Symbol.asyncDispose]());
  const store = testStore(site.namespace);
  const client = siteClient(site, { mode: "local", workflows: [chain] });
  const { url } = await openDashboard({ namespace: site.namespace });
  const jobUrl = (queue: string, id: string) => `${url}/api/queues/${encodeURIComponent(queue)}/${id}`;
  /** The job as the board shows it, once it knows the queue. */
  async function shown(queue: string, id: string) {
    const text = await waitFor("the job on the board", async () => {
      const answer = await send(jobUrl(queue, id));
      return answer.status === 200 ? answer.text : undefined;
    });
    return JSON.parse(text) as {
      status: string;
      job: Record<string, unknown> & { data: Record<string, unknown> };
    };
  }
  return { site, store, client, url, jobUrl, shown };
}

test("a job that left its queue is shown as its record tells of it, and nothing can be done with it", async () => {
  const { store, client, url, jobUrl, shown } = await openBoard();
  const good = await client.enqueue('hi\n#sim {"reply": "forty-two"}', { model: MODEL });
  await good.result();
  const bad = await client.enqueue('bad\n#sim {"error": "400"}', { model: MODEL });
  await expect(bad.result()).rejects.toThrow();
  const run = await client.workflows.start(chain, { topic: "tides", steps: 1 });
  await run.result();
  await client.close();
  const { prefix } = store.keys;
  for (const key of await store.redis.keys(`${prefix.replace(/[{}]/g, "?")}:completions.*`))
    await store.redis.del(key);
  for (const key of await store.redis.keys(`${prefix.replace(/[{}]/g, "?")}:workflows.*`))
    await store.redis.del(key);
  const removed = await shown(MODEL, good.id);
  expect(removed.status).toBe("completed");
  expect(removed.job.data).toMatchObject({
    removed: expect.stringContaining("GLUELLM_RETENTION_COMPLETED"),
    model: MODEL,
    answer: "forty-two",
  });
  expect(removed.job.returnValue).toMatchObject({ costUsd: "unknown" });
  const failed = await shown(MODEL, bad.id);
  expect(failed.status).toBe("failed");
  expect(failed.job.failedReason).toContain("invalid_request");
  expect(failed.job.data).toMatchObject({ error: { code: "invalid_request" } });
  expect((await send(`${jobUrl(MODEL, bad.id)}/retry`, "PUT")).status).not.toBe(204);
  expect(await store.redis.exists(jobKey(store, "completions.simulator.test", bad.id))).toBe(0);
  const ended = await shown(workflowQueue("chain"), run.id);
  expect(ended.job.data).toMatchObject({ workflow: "chain", state: "succeeded", cost: "unknown" });
  expect((await send(jobUrl(MODEL, "none"))).status).toBe(404);
  const words = await send(`${url}/static/locales/en-US/messages.json`);
  expect(JSON.parse(words.text).JOB.NOT_FOUND).toContain("GLUELLM_RETENTION_RESULTS");
});

test("a job says its row, run, conversation and tools, what it waits for, and how its attempts went", async () => {
  const { site, store, client, url, shown } = await openBoard();
  site.write("in.jsonl", [{ custom_id: "row-7", prompt: "one" }]);
  const report = await client.batches.run({
    inputPath: site.path("in.jsonl"),
    outputPath: site.path("out.jsonl"),
    model: MODEL,
  });
  await report.report();
  const [id = ""] = await store.redis.zrange(
    `${store.keys.prefix}:completions.simulator.test:completed`,
    "0",
    "-1",
  );
  expect((await shown(MODEL, id)).job.data).toMatchObject({ customId: "row-7", line: 1 });

  const flaky = await client.enqueue(`${SECRET}\n#sim {"error": "500", "errorTimes": 2}`, { model: MODEL });
  await flaky.result();
  await waitFor("its end", async () => (await shown(MODEL, flaky.id)).status === "completed");
  const logs = JSON.parse(
    (await send(`${url}/api/queues/${encodeURIComponent(MODEL)}/${flaky.id}/logs`)).text,
  );
  expect(logs).toEqual([
    expect.stringMatching(/^\S+Z attempt 1 ended: \w+: .*; again in \d+ s$/),
    expect.stringMatching(/^\S+Z attempt 2 ended: /),
    expect.stringMatching(/^\S+Z attempt \d succeeded in \d+ ms: test, \d+ tokens$/),
  ]);
  expect(logs.join()).not.toContain("Palmer");

  const chat = client.conversation({ model: MODEL });
  const call = await chat.enqueue("hello");
  await call.result();
  expect((await shown(MODEL, call.id)).job.data).toMatchObject({ conversation: chat.id, turn: 0 });

  const run = await client.workflows.start(chain, { topic: "tides", steps: 1 });
  await run.result();
  const [step] = await run.steps();
  expect((await shown(MODEL, step?.job ?? "")).job.externalUrl).toEqual({
    displayText: "its run",
    href: `/queues/queue/workflows.chain/${run.id}`,
  });

  const later = await client.enqueue("later", { model: MODEL, delayMs: 600_000 });
  expect((await shown(MODEL, later.id)).job.data).toMatchObject({ waitsFor: "the time it was delayed to" });
});
