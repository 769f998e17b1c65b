import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

interface OutputLine {
  id: string;
  custom_id: string;
  response: {
    status_code: number;
    request_id: string;
    body: { choices: { message: { content: string } }[] };
  } | null;
  error: { code: string; message: string; hint?: string; attempts?: number } | null;
}
const read = (site: TestSite, name: string) => site.read(name) as unknown as OutputLine[];

describe("a batch in the foreground", () => {
  test("answers every row in input order, reports, and pays nothing when run again", async () => {
    await using site = await TestSite.open({ jitterMs: 20 });
    site.write("in.jsonl", site.rows(60));
    const first = await site.run(...site.batch("--report", "report.json"));
    expect(first.stderr).toContain("60 of 60 rows succeeded");
    expect(first.code).toBe(0);

    const lines = read(site, "out.jsonl");
    expect(lines.map((line) => line.custom_id)).toEqual(site.rows(60).map((row) => row.custom_id));
    for (const { id, response, error } of lines) {
      expect(id).toMatch(/^batch_req_[0-9a-f]{32}$/);
      expect(response?.status_code).toBe(200);
      expect(response?.body.choices[0]?.message.content).toContain("[simulated]");
      expect(error).toBeNull();
    }
    const report = JSON.parse(readFileSync(site.path("report.json"), "utf8"));
    expect(report).toMatchObject({ total: 60, succeeded: 60, failed: 0, retries: 0, rateLimited: 0 });
    expect(report.tokens.total).toBe(report.tokens.prompt + report.tokens.completion);
    expect(report.tokens.completion).toBeGreaterThan(0);
    expect(report.latencyMs?.p50).toBeGreaterThan(0);
    for (const leftover of ["out.jsonl.partial", "out.jsonl.index", "out.errors.jsonl"]) {
      expect(existsSync(site.path(leftover)), leftover).toBe(false);
    }

    const calls = site.simulator.journal.entries().length;
    const again = await site.run(...site.batch());
    expect(again.code).toBe(0);
    expect(again.stderr).toContain("no provider call");
    expect(site.simulator.journal.entries().length).toBe(calls);
  });

  test("takes all three line forms and several models, each with its own queue", async () => {
    await using site = await TestSite.open();
    const body = { model: "simulator:other", messages: [{ role: "user", content: "as a batch line" }] };
    site.write("in.jsonl", [
      { custom_id: "a", method: "POST", url: "/v1/chat/completions", body },
      { prompt: "as a prompt", system: "be brief" },
      { messages: [{ role: "user", content: "as messages" }], model: "third" },
    ]);
    expect((await site.run(...site.batch())).code).toBe(0);
    expect(read(site, "out.jsonl").map((line) => line.custom_id)).toEqual(["a", "line-2", "line-3"]);
    const models = site.simulator.journal.entries().map((entry) => entry.model);
    expect(models.sort()).toEqual(["other", "test", "third"]);
    const queues = await site.run("queues", "--json");
    expect(JSON.parse(queues.stdout).map((state: { key: string }) => state.key)).toEqual([
      "simulator:other",
      "simulator:test",
      "simulator:third",
    ]);
  });

  test("vendors' lines run side by side; the same output in another vendor's form costs nothing", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    const [messages, model] = [[{ role: "user", content: "hi" }], "simulator:test"];
    site.write("in.jsonl", [
      {
        custom_id: "azure",
        method: "POST",
        url: "/chat/completions",
        body: { model, messages, temperature: 1.5 },
      },
      {
        custom_id: "vectors",
        method: "POST",
        url: "/v1/embeddings",
        body: { model, input: [[7, 8], [9]] },
      },
      { custom_id: "response", method: "POST", url: "/v1/responses", body: { model, input: "hi" } },
      { custom_id: "anthropic", params: { model: "claude:test", max_tokens: 50, messages } },
      { key: "gemini", request: { model, contents: [{ parts: [{ text: "hi" }] }] } },
    ]);
    const first = await site.run(...site.batch());
    expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining("5 of 5 rows succeeded") });
    const bodies = site
      .read("out.jsonl")
      .map(({ response }) => (response as { body: { object: string } }).body);
    expect(bodies.map(({ object }) => object)).toEqual([
      ...["chat.completion", "list", "response", "chat.completion", "chat.completion"],
    ]);
    // The provider's own body: a translation has other ids of its items.
    expect(bodies[2]).toMatchObject({
      id: expect.stringMatching(/^resp_/),
      output: [{ id: expect.stringMatching(/^msg_req/), content: [{ type: "output_text", logprobs: [] }] }],
    });
    expect(bodies[1]).toMatchObject({ data: [{ index: 0, object: "embedding" }, { index: 1 }] });
    const calls = site.simulator.journal.entries().length;

    const again = await site.run(...site.batch("--format", "anthropic"));
    expect(again.code).toBe(0);
    const lines = site.read("out.jsonl");
    expect(lines[3]).toMatchObject({ custom_id: "anthropic", result: { type: "succeeded" } });
    expect(lines[1]).toMatchObject({ custom_id: "vectors", response: { body: { object: "list" } } });
    expect(site.simulator.journal.entries()).toHaveLength(calls);
    const third = await site.run(...site.batch("--format", "anthropic"));
    expect(third.stderr).toContain("no provider call");
    const other = await site.run(...site.batch());
    expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining("--format anthropic") });
  });

  test("fails single rows with a reason, exits 1, and sends only those again with --retry-failed", {
    tags: "long",
  }, async () => {
    const script = [{ match: "question 3", times: 1, fault: "400" }];
    await using site = await TestSite.open({ faults: JSON.stringify({ script }) });
    site.write("in.jsonl", [...site.rows(8), "{broken", { custom_id: "no-prompt" }]);
    const first = await site.run(...site.batch());
    expect(first.code).toBe(1);
    expect(first.stderr).toContain("--retry-failed");
    const failed = read(site, "out.errors.jsonl");
    expect(failed.map((line) => line.custom_id)).toEqual(["row-3", "line-9", "no-prompt"]);
    expect(failed[0]?.error).toMatchObject({ code: "invalid_request", attempts: 1 });
    expect(failed[1]?.error?.message).toContain("in.jsonl:9");
    expect(read(site, "out.jsonl")).toHaveLength(10);

    const same = await site.run(...site.batch());
    expect(same.code).toBe(1);
    expect(site.repeatedCalls()).toBe(0);
    const again = await site.run(...site.batch("--retry-failed"));
    expect(again.code).toBe(1);
    expect(site.repeatedCalls()).toBe(1);
    expect(read(site, "out.errors.jsonl").map((line) => line.custom_id)).toEqual(["line-9", "no-prompt"]);
  });

  test("a file of malformed rows alone ends with its report, also under a deadline", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    writeFileSync(site.path("in.jsonl"), '{no json\n[1]\n{"a": 1}\n');
    for (const more of [[], ["--by", "6h"], ["--by", "6h", "--lanes", "batch"]]) {
      const run = await site.run(...site.batch("--retry-failed", "--report", "report.json", ...more));
      expect([run.code, run.stderr]).toEqual([1, expect.stringContaining("0 of 3 rows succeeded, 3 failed")]);
      const codes = read(site, "out.jsonl").map(({ error }) => error?.code);
      expect(codes).toEqual(["invalid_json_line", "invalid_json_line", "missing_prompt"]);
      expect(JSON.parse(readFileSync(site.path("report.json"), "utf8"))).toMatchObject({
        total: 3,
        failed: 3,
      });
    }
    expect(site.simulator.journal.entries()).toHaveLength(0);
  });

  test("retries what deserves it and waits out pauses without losing a row", async () => {
    const script = [
      { match: "question 1", times: 2, fault: "500" },
      { match: "question 2", times: 2, fault: "drop" },
      { match: "question 3", times: 1, fault: "429" },
      { match: "question 4", times: 1, fault: "529" },
    ];
    await using site = await TestSite.open({ faults: JSON.stringify({ script, retryAfterMs: 300 }) });
    site.write(
      "in.jsonl",
      site.rows(6, (n) => `question ${n}`),
    );
    const run = await site.run(...site.batch("--report", "report.json"));
    expect(run.code).toBe(0);
    const report = JSON.parse(readFileSync(site.path("report.json"), "utf8"));
    expect(report).toMatchObject({ succeeded: 6, retries: 4, rateLimited: 2 });
  });

  test("carries a 10 MB row through and keeps no blob of it", { tags: "long" }, async () => {
    await using site = await TestSite.open();
    const prompt = "word ".repeat(700_000);
    const parts = [1, 2, 3].map(() => ({ type: "text", text: prompt }));
    site.write("in.jsonl", [
      { custom_id: "big", messages: [{ role: "user", content: parts }] },
      ...site.rows(3),
    ]);
    const run = await site.run(...site.batch());
    expect(run.stderr).toContain("4 of 4 rows succeeded");
    const { testRedis } = await import("../support/redis.ts");
    const redis = testRedis();
    expect(await redis.keys(`{gluellm:${site.namespace}}:blob:*`)).toEqual([]);
    redis.disconnect();
  });
});

describe("a provider with a limit nobody configured", () => {
  test("is not flooded: calls at a time follow its pauses", { tags: "long" }, async () => {
    await using site = await TestSite.open({ rpm: 1200, latencyMs: 50 });
    site.write("in.jsonl", site.rows(120));
    expect((await site.run(...site.batch())).code).toBe(0);
    const { rateLimited } = site.simulator.stats();
    // The first round may be refused whole; without adapting it is thousands.
    expect(rateLimited).toBeLessThan(250);
    expect(site.paidCalls().size).toBe(120);
  });
});

describe("batch list, status and cancel", () => {
  test("act on the record; a cancelled batch keeps its results and resumes", { tags: "long" }, async () => {
    await using site = await TestSite.open({ latencyMs: 50 });
    site.write("in.jsonl", site.rows(100));
    const run = site.start(...site.batch("--concurrency", "2"));
    await waitFor("some answers", () => site.paidCalls().size > 4);
    // Three commands start while the batch runs, on any machine.
    site.simulator.setLatency({ latencyMs: 3000, jitterMs: 0 });
    const [id = ""] = /batch_[0-9a-f]{24}/.exec((await site.run("batch", "list")).stdout) ?? [];
    const status = JSON.parse((await site.run("batch", "status", id)).stdout);
    expect(status).toMatchObject({ id, status: "in_progress", total: 100, runner: { pid: run.child.pid } });
    expect((await site.run("batch", "cancel", id)).stdout).toContain("cancelling");
    expect(await run.exit).toBe(1);
    expect(run.stderr()).toContain("cancelled");
    expect((await site.run("batch", "list")).stdout).toContain("cancelled");
    expect((await site.run("batch", "status", "batch_none")).code).toBe(2);
    site.simulator.setLatency({ latencyMs: 1, jitterMs: 0 });
    expect((await site.run(...site.batch())).code).toBe(0);
    expect(site.repeatedCalls()).toBe(0);
  });
});

test("complete prints the answer, and a failure as one clear error", async () => {
  await using site = await TestSite.open({ faults: { script: [{ match: "bad", times: 9, fault: "400" }] } });
  const good = await site.run("complete", "hello", "-m", MODEL);
  expect(good.stdout).toContain("[simulated]");
  expect(good.code).toBe(0);
  const bad = await site.run("complete", "bad", "-m", MODEL);
  expect(bad.code).toBe(1);
  expect(bad.stdout).toBe("");
  expect(bad.stderr).toContain("error:");
});
