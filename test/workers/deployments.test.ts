import { describe, expect, test } from "vitest";
import { chooseModels } from "../../src/calls/model-chain.ts";
import { chooseModel } from "../../src/calls/model-choice.ts";
import { GlueLLM, InputError } from "../../src/index.ts";
import type { FallbackTarget } from "../../src/shared/catalog.ts";
import { drawnOrder } from "../../src/shared/deployments.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { JobJournal } from "../../src/store/job-journal.ts";
import { presentTarget } from "../../src/workers/fallback.ts";
import { completionPayload } from "../support/dashboard.ts";
import { FIRST, openPair, SECOND, statuses } from "../support/model-pair.ts";
import { errorBody, goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { sendJson, type WireServer, wireServer } from "../support/wire-server.ts";

const GLUELLM_DEPLOYMENTS = JSON.stringify({ fast: [{ model: FIRST }, { model: SECOND }] });

describe.concurrent("a call of deployments", () => {
  test("goes to the next one at a 429, however short its wait; later calls go there at once", async () => {
    const faults = { "429": 1, retryAfterMs: 3000 };
    await using pair = await openPair({ first: { faults }, env: { GLUELLM_DEPLOYMENTS } });
    const glue = pair.client({ model: "fast" });
    const results = await Promise.all(Array.from({ length: 12 }, (_, n) => glue.complete(`hello ${n}`)));
    expect(new Set(results.map(({ model }) => model))).toEqual(new Set([SECOND]));
    const left = results.flatMap(({ fallbacks }) => fallbacks);
    expect(left.length).toBeGreaterThan(0);
    for (const { model } of left) expect(model).toBe(FIRST);
    expect(statuses(pair.second)).toEqual(Array(12).fill(200));
  });

  test("is spread over them; a conversation stays where it began", async () => {
    await using pair = await openPair({ env: { GLUELLM_DEPLOYMENTS, GLUELLM_DEFAULT_MODEL: "fast" } });
    const glue = pair.client({ model: "fast" });
    const results = await Promise.all(Array.from({ length: 12 }, (_, n) => glue.complete(`hello ${n}`)));
    expect(new Set(results.map(({ model }) => model))).toEqual(new Set([FIRST, SECOND]));
    const conversation = glue.conversation();
    const turns = [];
    for (const text of ["one", "two", "three"]) turns.push(await conversation.complete(text));
    expect(new Set(turns.map(({ model }) => model)).size).toBe(1);
  });

  test("goes to the one whose budget has room", async () => {
    const GLUELLM_LIMITS = JSON.stringify({ [FIRST]: { rpm: 1 } });
    await using pair = await openPair({ env: { GLUELLM_DEPLOYMENTS, GLUELLM_LIMITS } });
    const glue = pair.client({ model: "fast" });
    const left = [];
    for (let n = 0; n < 12; n++) left.push(...(await glue.complete(`hello ${n}`)).fallbacks);
    expect(left).toEqual([]);
    const [few, many] = [statuses(pair.first).length, statuses(pair.second).length];
    expect(few).toBeLessThanOrEqual(2);
    expect(few + many).toBe(12);
  });

  test("is the same call under its idempotency key", async () => {
    await using pair = await openPair({ env: { GLUELLM_DEPLOYMENTS } });
    const glue = pair.client({ model: "fast" });
    const [one, two] = [
      await glue.complete("hello", { idempotencyKey: "k" }),
      await glue.complete("hello", { idempotencyKey: "k" }),
    ];
    expect(two.jobId).toBe(one.jobId);
    // With other weights another one would be drawn first.
    const first = one.model === FIRST ? SECOND : FIRST;
    const weighted = [FIRST, SECOND].map((model) => ({ model, weight: model === first ? 1_000_000 : 1 }));
    const env = { ...pair.site.env, GLUELLM_DEPLOYMENTS: JSON.stringify({ fast: weighted }) };
    const other = pair.client({ model: "fast", settings: loadSettings({ env, cwd: "/" }) });
    expect((await other.complete("hello", { idempotencyKey: "k" })).jobId).toBe(one.jobId);
    expect((await other.complete("hello!")).model).toBe(first);
  });
});

describe("deployments", () => {
  const three = ["a:m", "b:m", "c:m"].map((model, i) => ({ model, weight: i + 1 }));

  test("are drawn by their weights, the same for the same text", () => {
    const firsts = Array.from({ length: 6000 }, (_, n) => drawnOrder(three, `text ${n}`)[0]);
    for (const { model, weight } of three)
      expect(firsts.filter((first) => first === model).length / 1000).toBeCloseTo(weight, 0);
    expect(drawnOrder(three, "x")).toEqual(drawnOrder(three, "x"));
    expect(drawnOrder(three, "x").toSorted()).toEqual(["a:m", "b:m", "c:m"]);
  });

  test("of a job: the freest that was not given up; the one that answered goes on; then the models behind them", () => {
    const target = (entry: string) => ({ provider: { entry, fingerprint: "" }, model: "m" });
    const payload = {
      ...completionPayload(),
      ...target("a"),
      fallbacks: [target("b"), target("z")],
      alike: 2,
    };
    const journal = (fallbacks: string[], calls: string[] = []) =>
      ({
        fallbacks: fallbacks.map((entry) => ({ model: `${entry}:m` })),
        calls: calls.map((entry) => ({ entry, model: "m" })),
      }) as unknown as JobJournal;
    const entryOf = (left: string[], calls: string[] = [], more = {}) => {
      const { holder, ...fields } = more as { holder?: string };
      const waitMsOf = ({ provider: { entry } }: FallbackTarget) => (entry === "a" ? 500 : 0);
      return presentTarget({ ...payload, ...fields }, journal(left, calls), { waitMsOf, holder }).provider
        .entry;
    };
    expect(entryOf([])).toBe("b");
    expect(entryOf(["b"])).toBe("a");
    expect(entryOf([], ["a"])).toBe("a");
    expect(entryOf([], [], { conversation: {} })).toBe("a");
    expect(entryOf([], [], { conversation: {}, holder: "b" })).toBe("b");
    expect(entryOf(["b"], [], { conversation: {}, holder: "b" })).toBe("a");
    expect(entryOf(["b", "a"])).toBe("z");
  });

  test("keep a conversation where its provider wants back what it wrote, also after it has moved", async () => {
    let limited = "";
    const asked: string[] = [];
    const open = (name: string) =>
      wireServer((response) => {
        asked.push(name);
        if (limited === name) return sendJson(response, errorBody("responses", { type: "requests" }), 429);
        const body = goodBody("responses", name);
        const thought = { type: "reasoning", id: `rs_${name}`, summary: [], encrypted_content: `of ${name}` };
        sendJson(response, { ...body, output: [thought, ...(body.output as object[])] });
      });
    const servers = { a: await open("a"), b: await open("b") };
    const entry = ({ url }: WireServer) => ({ baseUrl: `${url}/v1`, keyOptional: true, api: "responses" });
    const deployments = { fast: [{ model: "a:m" }, { model: "b:m" }] };
    await using site = await TestSite.open(
      {},
      {
        GLUELLM_PROVIDERS: JSON.stringify({ a: entry(servers.a), b: entry(servers.b) }),
        GLUELLM_DEPLOYMENTS: JSON.stringify(deployments),
      },
    );
    const settings = loadSettings({ env: site.env, cwd: "/" });
    await using glue = new GlueLLM({ model: "fast", mode: "local", settings });
    const conversation = glue.conversation();
    const first = (await conversation.complete("one")).finalResponse as "a" | "b";
    const other = first === "a" ? "b" : "a";
    limited = first;
    expect((await conversation.complete("two")).finalResponse).toBe(other);
    limited = "";
    expect((await conversation.complete("three")).finalResponse).toBe(other);
    expect(asked).toEqual([first, first, other, other]);
    // Each gets back what it wrote itself.
    expect(servers[other].requests.at(-1)?.body).toContain(`of ${other}`);
    expect(servers[other].requests.at(-1)?.body).not.toContain(`of ${first}`);
  });

  const settingsOf = (deployments: object) =>
    loadSettings({
      env: { GLUELLM_DEPLOYMENTS: JSON.stringify(deployments), GLUELLM_ALLOWED_MODELS: "*" },
      cwd: "/",
    });

  test("stand for a name in a list of models, too", () => {
    const settings = settingsOf({ fast: [{ model: "simulator:a" }, { model: "simulator:b", weight: 1e6 }] });
    const choice = { settings, defaultModels: "fast", keyNeeded: false };
    const key = (chain: ReturnType<typeof chooseModels>) =>
      [chain.model, ...(chain.fallbacks ?? [])].map((one) => one.key);
    expect(key(chooseModels(undefined, choice))).toEqual(["simulator:b", "simulator:a"]);
    const chain = chooseModels(["simulator:c", "fast"], choice);
    expect(key(chain)).toEqual(["simulator:c", "simulator:b", "simulator:a"]);
    expect(chain.alike).toBeUndefined();
    expect(chooseModels(["fast", "simulator:c"], choice).alike).toBe(2);
  });

  test("are refused where one model is meant, and in settings that are wrong", () => {
    const settings = settingsOf({ fast: [{ model: "simulator:a" }] });
    const choice = { settings, defaultModel: "simulator:a", keyNeeded: false };
    expect(() => chooseModel("fast", choice)).toThrow(InputError);
    for (const wrong of [
      { fast: [] },
      { fast: [{ model: "a" }] },
      { fast: [{ model: "a:b", weight: 0 }] },
      { "a:b": [] },
    ])
      expect(() => settingsOf(wrong)).toThrow(/GLUELLM_DEPLOYMENTS/);
    const twice = { fast: [{ model: "simulator:a" }, { model: "simulator:a" }] };
    expect(() => settingsOf(twice)).toThrow(/names a model twice/);
  });
});
