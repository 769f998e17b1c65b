import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FaultPlan } from "../src/simulator/fault-plan.ts";
import { readFaults } from "../src/simulator/faults.ts";
import type { JournalEntry } from "../src/simulator/journal.ts";
import { startSimulator } from "../src/simulator/simulator.ts";
import type { StatisticsSnapshot } from "../src/simulator/statistics.ts";
import { anthropicRequest, openaiRequest, post, simulatedProvider } from "./support/simulated-provider.ts";

describe("the journal", () => {
  it("holds every call in order of arrival, without its key", async () => {
    await using provider = await simulatedProvider();
    const answer = await provider.openai.chat.completions.create(openaiRequest(`first ${"y".repeat(100)}`));
    await provider.anthropic.messages.create(anthropicRequest("second"));
    await provider.openai.chat.completions.create(openaiRequest(`first ${"y".repeat(100)}`));
    const entries = provider.simulator.journal.entries();
    expect(entries.map(({ n, dialect }) => [n, dialect])).toEqual([
      [1, "openai"],
      [2, "anthropic"],
      [3, "openai"],
    ]);
    expect(entries[0]).toMatchObject({
      model: "demo",
      status: 200,
      aborted: false,
      key: expect.stringMatching(/^[0-9a-f]{12}$/),
      lastUserText: `first ${"y".repeat(74)}`,
      promptTokens: answer.usage?.prompt_tokens,
      completionTokens: answer.usage?.completion_tokens,
    });
    expect(entries[0]?.contentHash).toBe(entries[2]?.contentHash);
    expect(entries[0]?.contentHash).not.toBe(entries[1]?.contentHash);
    expect(Math.abs(entries[0]!.at - Date.now())).toBeLessThan(60_000);
    expect(JSON.stringify(entries)).not.toContain("test-key");
  });

  it("hashes equal requests equally, whatever the order of their keys", async () => {
    await using provider = await simulatedProvider();
    const url = `${provider.simulator.url}/v1/chat/completions`;
    await post(url, '{"model": "m", "messages": [{"role": "user", "content": "x"}]}');
    await post(url, '{"messages":[{"content":"x","role":"user"}],"model":"m"}');
    const [first, second] = provider.simulator.journal.entries();
    expect(first?.contentHash).toBe(second?.contentHash);
    expect(first?.key).toBeNull();
  });

  it("goes to a file, before the answer and at the end", async () => {
    const folder = mkdtempSync(join(tmpdir(), "gluellm-journal-"));
    const file = join(folder, "journal.jsonl");
    const simulator = await startSimulator({ latencyMs: 0, jitterMs: 0, journalFile: file });
    await post(`${simulator.url}/v1/chat/completions`, openaiRequest("filed"));
    await simulator.close();
    const lines = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as JournalEntry);
    expect(lines.map(({ n, status }) => [n, status])).toEqual([
      [1, null],
      [1, 200],
    ]);
    rmSync(folder, { recursive: true });
    await expect(startSimulator({ journalFile: file })).rejects.toThrow(`simulator journal ${file}: ENOENT`);
  });
});

describe("the control endpoints", () => {
  it("serve the journal and the counts", async () => {
    await using provider = await simulatedProvider({ rpm: 60 });
    const { url } = provider.simulator;
    for (const text of ["a", "b"]) await post(`${url}/v1/messages`, anthropicRequest(text));
    const page = await (await fetch(`${url}/_simulator/journal?since=1`)).json();
    expect(page).toMatchObject({ more: false, entries: [{ n: 2, lastUserText: "b", status: 429 }] });
    const stats = (await (await fetch(`${url}/_simulator/stats`)).json()) as StatisticsSnapshot;
    expect(stats).toMatchObject({
      requests: 2,
      accepted: { requests: 1, promptTokens: 1 },
      rateLimited: 1,
      byStatus: { "200": 1, "429": 1 },
      inFlight: 0,
      maxInFlight: 1,
    });
    expect(stats.perSecond.reduce((sum, { requests }) => sum + requests, 0)).toBe(2);
    expect(stats.socketsOpened).toBeGreaterThanOrEqual(1);
    expect(provider.simulator.stats().requests).toBe(2);
  });

  it("change limits, faults and latency, and reset", async () => {
    await using provider = await simulatedProvider();
    const { url } = provider.simulator;
    const ask = async () => (await post(`${url}/v1/chat/completions`, openaiRequest("x"))).status;
    await post(`${url}/_simulator/limits`, { rpm: 1 });
    expect([await ask(), await ask()]).toEqual([200, 429]);
    await post(`${url}/_simulator/reset`, {});
    expect(provider.simulator.journal.entries()).toEqual([]);
    expect(await ask()).toBe(200);
    expect(provider.simulator.journal.entries()[0]?.n).toBe(3);
    await post(`${url}/_simulator/limits`, { rpm: null });
    await post(`${url}/_simulator/faults`, { script: [{ match: "x", times: 1, fault: "500" }] });
    expect([await ask(), await ask()]).toEqual([500, 200]);
    await post(`${url}/_simulator/latency`, { latencyMs: 100 });
    const started = performance.now();
    await ask();
    expect(performance.now() - started).toBeGreaterThanOrEqual(98);
  });

  it("say what is wrong", async () => {
    await using provider = await simulatedProvider();
    const control = `${provider.simulator.url}/_simulator`;
    expect(await post(`${control}/limits`, { rpm: "many" })).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining("limits rpm") },
    });
    expect(await post(`${control}/faults`, { "600": 1 })).toMatchObject({ status: 400 });
    expect(await post(`${control}/latency`, "{")).toMatchObject({
      status: 400,
      body: { error: "the body is not valid JSON" },
    });
    expect(await post(`${control}/nothing`, {})).toMatchObject({ status: 404 });
    expect((await fetch(`${control}/journal?since=x`)).status).toBe(400);
  });
});

describe("latency", () => {
  it("has a jitter that depends on the seed, the request and the attempt alone", () => {
    const shares = (seed: number, requests: string[]) => {
      const plan = new FaultPlan(seed, readFaults({}));
      return new Map(requests.map((hash, n) => [`${n} ${hash}`, plan.next(hash, "").jitterShare]));
    };
    const [a, again] = [...shares(1, ["a", "a"]).values()];
    expect([...shares(1, ["b", "a", "a"]).values()].slice(1)).toEqual([a, again]);
    expect(a).not.toBe(again);
    expect(shares(2, ["a"]).get("0 a")).not.toBe(a);
  });

  it("is kept, jitter included", async () => {
    await using provider = await simulatedProvider({ latencyMs: 60, jitterMs: 40 });
    for (let n = 0; n < 5; n++) await provider.openai.chat.completions.create(openaiRequest(`q ${n}`));
    const delays = provider.simulator.journal.entries().map(({ at, finishedAt }) => finishedAt! - at);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(18);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(5);
  });

  it("spreads a stream: first event after half of it, the rest over the other half", async () => {
    await using provider = await simulatedProvider({ latencyMs: 200 });
    const started = performance.now();
    const stream = await provider.openai.chat.completions.create({ ...openaiRequest("x"), stream: true });
    const times: number[] = [];
    for await (const _ of stream) times.push(performance.now() - started);
    expect(times[0]).toBeGreaterThanOrEqual(98);
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(50);
  });
});
