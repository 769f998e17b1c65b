import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FaultPlan } from "../../src/simulator/fault-plan.ts";
import { readFaults } from "../../src/simulator/faults.ts";
import type { JournaledCall } from "../../src/simulator/journal.ts";
import { Series, type SeriesSnapshot } from "../../src/simulator/series.ts";
import { startSimulator } from "../../src/simulator/simulator.ts";
import type { StatisticsSnapshot } from "../../src/simulator/statistics.ts";
import { anthropicRequest, openaiRequest, post, simulatedProvider } from "../support/simulated-provider.ts";

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

  it("tells each call's turn, tools and whether a schema was asked for, over the wire too", async () => {
    await using own = await simulatedProvider();
    const url = own.simulator.url;
    const turns = [{ toolCalls: [{ name: "get_weather" }] }, { json: { warm: true } }];
    const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name } }));
    const first = { ...openaiRequest(`Question\n#sim ${JSON.stringify({ turns })}`), tools };
    const second = {
      ...first,
      messages: [...first.messages, { role: "assistant", content: "a" }],
      response_format: { type: "json_object" },
    };
    for (const request of [first, second, first]) await post(`${url}/v1/chat/completions`, request);
    const page = await (await fetch(`${url}/_simulator/journal`)).json();
    const { entries } = page as { entries: JournaledCall[] };
    expect(entries).toMatchObject([
      { turn: 0, toolNames: ["get_weather", "get_time"], hasAnswerSchema: false },
      { turn: 1, toolNames: ["get_weather", "get_time"], hasAnswerSchema: true },
      { turn: 0 },
    ]);
    const paid = entries.filter(({ status }) => status === 200).map(({ contentHash }) => contentHash);
    expect(paid).toEqual([paid[0], expect.not.stringMatching(paid[0]!), paid[0]]);
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
      .map((line) => JSON.parse(line) as JournaledCall);
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

  it("serve accepted calls, their tokens and refusals by 100 ms", async () => {
    await using provider = await simulatedProvider({ rpm: 2 });
    const { url } = provider.simulator;
    const series = async (query = "") =>
      (await (await fetch(`${url}/_simulator/series${query}`)).json()) as SeriesSnapshot;
    expect(await series()).toEqual({ slotMs: 100, slots: [] });
    for (const text of ["a", "b", "c"]) await post(`${url}/v1/messages`, anthropicRequest(text));
    const { slots } = await series();
    const sum = (count: "accepted" | "tokens" | "rateLimited") =>
      slots.reduce((total, slot) => total + slot[count], 0);
    const { accepted, rateLimited } = provider.simulator.stats();
    expect([sum("accepted"), sum("rateLimited")]).toEqual([accepted.requests, rateLimited]);
    expect([accepted.requests, rateLimited]).toEqual([1, 2]);
    expect(sum("tokens")).toBe(accepted.promptTokens + accepted.completionTokens);
    const entries = provider.simulator.journal.entries();
    expect(slots[0]!.at).toBe(Math.floor(entries[0]!.at / 100) * 100);
    const last = slots.at(-1)!;
    expect((await series(`?since=${last.at}`)).slots).toEqual([last]);
    expect((await series(`?since=${last.at + 1}`)).slots).toEqual([]);
    provider.simulator.reset();
    expect(provider.simulator.series().slots).toEqual([]);
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
    expect((await fetch(`${control}/series?since=-1`)).status).toBe(400);
    expect(await post(`${control}/outage`, { forMs: 1, kind: "boom" })).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining("outage kind") },
    });
  });
});

describe("the series", () => {
  it("leaves out empty slots, and forgets the oldest beyond half an hour", () => {
    const series = new Series();
    series.slot(1_000_099).accepted++;
    series.slot(1_000_199).accepted++;
    series.slot(1_000_500).accepted++;
    expect(series.since().slots.map(({ at }) => at)).toEqual([1_000_000, 1_000_100, 1_000_500]);
    for (let n = 1; n <= 18_000; n++) series.slot(2_000_000 + n * 100);
    const { slots } = series.since();
    expect([slots.length, slots[0]?.at, slots.at(-1)?.at]).toEqual([18_000, 2_000_100, 3_800_000]);
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
