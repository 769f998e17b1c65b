import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { BatchReport } from "../../src/batch/batch-run.ts";
import { createAdapter } from "../../src/providers/create-adapter.ts";
import { CLAUDE_MODEL, MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* Rows that are bought in OpenAI's tier flex: half the price, while there is room. */

const ENV = {
  GLUELLM_LANE_POLL_MS: "50",
  GLUELLM_LANE_RESERVE_MS: "1000",
  // So that what the rows take online is next to nothing.
  GLUELLM_LIMITS: JSON.stringify({ [MODEL]: { rpm: 100_000 } }),
  GLUELLM_PRICES: JSON.stringify({ "*": { inputPerMillion: 1e6, outputPerMillion: 1e6 } }),
};
const flexSite = (options: { flexRefused?: number } = {}) => TestSite.open(options, ENV);
const answersOf = (site: TestSite) => site.simulator.journal.entries().filter(({ status }) => status === 200);
const reportOf = (site: TestSite) => JSON.parse(readFileSync(site.path("r.json"), "utf8")) as BatchReport;

test("rows wait for room in the tier, and cost half; a run after it knows that", {
  tags: "long",
}, async () => {
  await using site = await flexSite({ flexRefused: 0.3 });
  site.write("in.jsonl", site.rows(20));
  const args = site.batch("--by", "1h", "--lanes", "flex", "--report", "r.json");
  const run = await site.run(...args);
  expect([run.code, run.stderr]).toEqual([0, expect.stringContaining("20 in the tier flex saved")]);
  expect(site.read("out.jsonl").map(({ lane }) => lane)).toEqual(Array(20).fill("flex"));
  expect([...site.paidCalls().values()]).toEqual(Array(20).fill(1));
  expect(new Set(site.simulator.journal.entries().map(({ lane }) => lane))).toEqual(new Set(["flex"]));
  expect(site.simulator.journal.entries().length).toBeGreaterThan(20);
  const tokens = answersOf(site).reduce((sum, one) => sum + one.promptTokens + one.completionTokens, 0);
  const figures = { rowsByLane: { batch: 0, flex: 20 }, failed: 0 };
  expect(reportOf(site)).toMatchObject(figures);
  // None of its calls was online.
  expect(reportOf(site)).not.toHaveProperty("latencyMs");
  expect(reportOf(site).costUsd).toBeCloseTo(tokens / 2, 6);
  expect((await site.run(...args)).code).toBe(0);
  expect(reportOf(site)).toMatchObject(figures);
  expect(reportOf(site).savedUsd).toBeCloseTo(tokens / 2, 6);
});

test("without room all is bought online at the reserve, each once", { tags: "long" }, async () => {
  await using site = await flexSite({ flexRefused: 1 });
  site.write("in.jsonl", site.rows(4));
  const startedAt = Date.now();
  expect((await site.run(...site.batch("--by", "8s", "--lanes", "flex"))).code).toBe(0);
  expect([...site.paidCalls().values()]).toEqual(Array(4).fill(1));
  expect(site.simulator.journal.entries().some(({ lane }) => lane === "flex")).toBe(true);
  for (const { lane, at } of answersOf(site)) {
    expect(lane).toBe("online");
    expect(at).toBeGreaterThan(startedAt + 4000);
  }
});

test("rows of a model whose provider has no tier flex go online at once, and so do those that name a tier", async () => {
  await using site = await flexSite();
  const rows = site.rows(2).map((row) => ({ ...row, model: CLAUDE_MODEL }));
  const body = { model: MODEL, service_tier: "default", messages: [{ role: "user", content: "own" }] };
  const own = { custom_id: "own", method: "POST", url: "/v1/chat/completions", body };
  site.write("in.jsonl", [...rows, own]);
  expect((await site.run(...site.batch("--by", "1h", "--lanes", "flex"))).code).toBe(0);
  expect(answersOf(site).map(({ lane }) => lane)).toEqual(["online", "online", "online"]);
  expect(site.read("out.jsonl").map(({ lane }) => lane)).toEqual([undefined, undefined, undefined]);
});

test("a model that refuses the tier is asked without it, in the same call, and from then on", async () => {
  const asked: unknown[] = [];
  const server = createServer(async (request, response) => {
    const body = JSON.parse((await Array.fromAsync(request)).join("")) as { service_tier?: string };
    asked.push(body.service_tier);
    const isRefused = body.service_tier !== undefined;
    const fault = {
      message: "Flex processing is not available for this model",
      type: "invalid_request_error",
    };
    const message = { role: "assistant", content: "yes" };
    const answer = {
      id: "a",
      object: "chat.completion",
      choices: [{ index: 0, message, finish_reason: "stop" }],
    };
    response.writeHead(isRefused ? 400 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(isRefused ? { error: fault } : answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const adapter = createAdapter({
    ...{ name: "plain", dialect: "openai", baseUrl, keyVariable: "NONE", keyOptional: true, flex: true },
  });
  const request = { messages: [{ role: "user" as const, content: "?" }] };
  const times = { timeoutMs: 60_000, idleTimeoutMs: 60_000, signal: new AbortController().signal };
  for (const requestId of ["1", "2"])
    expect((await adapter.complete({ model: "m", request, requestId, isFlex: true, ...times })).isFlex).toBe(
      undefined,
    );
  expect(asked).toEqual(["flex", undefined, undefined]);
  await adapter.close();
});

test("calls in the tier take minutes, and quick ones of the same model do not wait for them", {
  tags: "long",
}, async () => {
  await using site = await flexSite();
  site.start("worker", "--concurrency", "2");
  site.write(
    "in.jsonl",
    site.rows(4, (n) => `slow ${n}\n#sim {"reply": "slow", "latencyMs": 240000}`),
  );
  const batch = site.start(...site.batch("--by", "1h", "--lanes", "flex", "--workers", "0"));
  const asked = () => site.simulator.journal.entries().filter(({ lane }) => lane === "flex");
  await waitFor("as many calls in the tier as the worker may have", () => asked().length === 2);
  for (const n of [1, 2, 3])
    expect((await site.run("complete", `quick ${n}`, "-m", MODEL)).stdout).toContain("[simulated]");
  expect(asked().map(({ status }) => status)).toEqual([null, null]);
  batch.child.kill("SIGKILL");
  await batch.exit;
});
