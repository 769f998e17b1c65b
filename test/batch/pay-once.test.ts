import { describe, expect, test } from "vitest";
import { testRedis } from "../support/redis.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const CONCURRENCY = 8;

describe.concurrent("what a kill may repeat: calls in flight, nothing else", () => {
  test("the batch runner killed and the same command run again", async () => {
    await using site = await TestSite.open({ latencyMs: 50 }, SHORT_LOCKS);
    site.write("in.jsonl", site.rows(150));
    const command = site.batch("--concurrency", String(CONCURRENCY));
    for (const answered of [20, 60]) {
      const run = site.start(...command);
      await waitFor(`${answered} answers`, () => site.paidCalls().size > answered);
      run.child.kill("SIGKILL");
      await run.exit;
    }
    const last = await site.run(...command);
    expect(last.stderr).toContain("150 of 150 rows succeeded");
    expect(last.code).toBe(0);
    expect(site.paidCalls().size).toBe(150);
    expect(site.repeatedCalls()).toBeLessThanOrEqual(2 * CONCURRENCY);
  });

  test("Ctrl-C withdraws what waits, finishes what runs, and repeats nothing", { tags: "long" }, async () => {
    await using site = await TestSite.open({ latencyMs: 80 });
    site.write("in.jsonl", site.rows(300));
    const command = site.batch("--concurrency", String(CONCURRENCY));
    const run = site.start(...command);
    await waitFor("20 answers", () => site.paidCalls().size > 20);
    site.simulator.setLatency({ latencyMs: 3000, jitterMs: 0 });
    run.child.kill("SIGINT");
    expect(await run.exit).toBe(130);
    expect(run.stderr()).toContain("resume with: gluellm batch run in.jsonl -o out.jsonl");
    site.simulator.setLatency({ latencyMs: 5, jitterMs: 0 });
    const answered = site.paidCalls().size;
    expect(answered).toBeLessThan(300);
    expect((await site.run(...command)).code).toBe(0);
    expect(site.repeatedCalls()).toBe(0);
  });

  test("Ctrl-C under a slow budget sends none of the rows that wait for it", { tags: "long" }, async () => {
    const limits = JSON.stringify({ "simulator:test": { rpm: 240 } });
    await using site = await TestSite.open({}, { GLUELLM_LIMITS: limits });
    site.write("in.jsonl", site.rows(100));
    const run = site.start(...site.batch());
    await waitFor("6 answers", () => site.paidCalls().size >= 6);
    run.child.kill("SIGINT");
    expect(await run.exit).toBe(130);
    // 50 rows were in the worker's hands; only those already granted may still be sent.
    expect(site.simulator.journal.entries().length).toBeLessThan(20);
  });

  test("the worker of the same row killed three times: the row is answered, finished rows are not sent again", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({ latencyMs: 20 }, SHORT_LOCKS);
    site.write("in.jsonl", [
      { prompt: `slow row\n#sim {"error": "hang", "errorTimes": 3}` },
      ...site.rows(30),
    ]);
    const runner = site.start(...site.batch("--workers", "0"));
    const slowCalls = () =>
      site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith("slow row"))
        .length;
    for (const kill of [1, 2, 3]) {
      const worker = site.start("worker", "--concurrency", "4");
      await waitFor(`call ${kill} of the slow row`, () => slowCalls() === kill);
      // Paid is not yet recorded: a row counts as finished once it is in the file, behind the header line.
      if (kill === 1) await waitFor("the other rows", () => site.countLines("out.jsonl.partial") === 31);
      worker.child.kill("SIGKILL");
      await worker.exit;
    }
    const survivor = site.start("worker");
    expect(await runner.exit).toBe(0);
    expect(slowCalls()).toBe(4);
    expect(site.repeatedCalls()).toBe(3);
    survivor.child.kill("SIGTERM");
    expect(await survivor.exit).toBe(143);
  });

  test("two worker processes share a batch, one is killed, one drains on SIGTERM", {
    tags: "long",
  }, async () => {
    // A worker that a busy machine lets wait for longer than its locks last loses its jobs, and they are paid again.
    await using site = await TestSite.open({ latencyMs: 60 }, { GLUELLM_LOCK_MS: "10000" });
    site.write("in.jsonl", site.rows(200));
    const workers = [1, 2, 3].map(() => site.start("worker", "--concurrency", String(CONCURRENCY)));
    const runner = site.start(...site.batch("--workers", "0"));
    await waitFor("40 answers", () => site.paidCalls().size > 40);
    workers[0]?.child.kill("SIGKILL");
    workers[1]?.child.kill("SIGTERM");
    expect(await workers[1]?.exit).toBe(143);
    expect(await runner.exit).toBe(0);
    expect(site.paidCalls().size).toBe(200);
    expect(site.repeatedCalls()).toBeLessThanOrEqual(CONCURRENCY);
  });

  test("Redis emptied in mid-run: the row sender sends the rows again that have no result", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({ latencyMs: 60 });
    site.write("in.jsonl", site.rows(120));
    const runner = site.start(...site.batch("--concurrency", String(CONCURRENCY)));
    await waitFor("30 answers", () => site.paidCalls().size > 30);
    const redis = testRedis();
    const keys = await redis.keys(`*{gluellm:${site.namespace}}*`);
    await redis.del(...keys);
    redis.disconnect();
    expect(await runner.exit).toBe(0);
    expect(site.paidCalls().size).toBe(120);
    expect(site.read("out.jsonl")).toHaveLength(120);
    expect((await site.run("batch", "list")).stdout).toMatch(/completed +120/);
    // Calls in flight, and results that were recorded but not yet in the file.
    expect(site.repeatedCalls()).toBeLessThanOrEqual(4 * CONCURRENCY);
  });
});

describe("one batch, one row sender", () => {
  test("a second run of a running batch stops and names the holder", { tags: "long" }, async () => {
    await using site = await TestSite.open({ latencyMs: 100 });
    site.write("in.jsonl", site.rows(60));
    const first = site.start(...site.batch("--concurrency", "2"));
    await waitFor("an answer", () => site.paidCalls().size > 0);
    site.simulator.setLatency({ latencyMs: 3000, jitterMs: 0 });
    const second = await site.run(...site.batch());
    expect(second.stderr).toContain(`process ${first.child.pid}`);
    expect(second.code).toBe(2);
    site.simulator.setLatency({ latencyMs: 1, jitterMs: 0 });
    expect(await first.exit).toBe(0);
    expect(site.repeatedCalls()).toBe(0);
  });
});

describe("what waits for what", () => {
  test("a queue nobody serves, and a worker with another server under the entry's name, are shown", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(3));
    const runner = site.start(...site.batch("--workers", "0"));
    await waitFor("rows without a worker", async () =>
      (await site.run("queues")).stdout.includes('entry "simulator"'),
    );
    await using elsewhere = await TestSite.open({}, { GLUELLM_NAMESPACE: site.namespace });
    const stranger = elsewhere.start("worker");
    await waitFor("the reason", async () => (await site.run("queues")).stdout.includes("set up differently"));
    expect(elsewhere.simulator.journal.entries()).toEqual([]);
    stranger.child.kill("SIGTERM");
    site.start("worker");
    expect(await runner.exit).toBe(0);
    expect(site.paidCalls().size).toBe(3);
  });
});
