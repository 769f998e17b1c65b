import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineSteps, defineTool, type Step } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { failureOf, goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { sendJson, type WireServer, wireServer } from "../support/wire-server.ts";

/** What the worker asks, by the request's model; each answer calls `look_up` until a tool's result is there. */
let wire: WireServer;
let site: TestSite;
let close: () => Promise<void>;

beforeAll(async () => {
  wire = await wireServer(
    (response, { body }) => {
      const { messages, tool_choice, tools } = JSON.parse(body);
      const results = messages.filter(({ role }: { role: string }) => role === "tool").length;
      const wants = Number(/(\d) times/.exec(JSON.stringify(messages))?.[1] ?? 1);
      const isDone = results >= wants || tool_choice === "none" || !tools;
      const function_ = { name: tool_choice?.function?.name ?? "look_up", arguments: "{}" };
      const calls = [{ id: `call_${results}`, type: "function", function: function_ }];
      const message = isDone ? { content: "the end" } : { content: null, tool_calls: calls };
      const choice = {
        index: 0,
        message: { role: "assistant", ...message },
        finish_reason: isDone ? "stop" : "tool_calls",
      };
      sendJson(response, { ...goodBody("openai"), choices: [choice] });
    },
    (end) => {
      close = end;
    },
  );
  site = await TestSite.open(
    {},
    {
      GLUELLM_PROVIDERS: JSON.stringify({
        wire: { baseUrl: `${wire.url}/v1`, keyOptional: true, models: ["*"] },
      }),
    },
  );
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
  await close();
});

const contexts: unknown[] = [];
const tools = ["look_up", "hand_over"].map((name) =>
  defineTool({
    name,
    description: "Does something.",
    parameters: z.object({}),
    execute: (_args, { context }) => {
      contexts.push(context);
      return "found";
    },
  }),
);

let models = 0;
/** A client of its own model, so that its requests are known; and what was asked of that model. */
function client(mode: "local" | "fleet" = "local") {
  const model = `m${++models}`;
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const queueGlobs = [`completions.wire.${model}`];
  const glue = siteClient(site, { mode, settings, model: `wire:${model}`, tools, queueGlobs });
  const asked = () =>
    wire.requests.map(({ body }) => JSON.parse(body)).filter((request) => request.model === model);
  return { glue, choices: () => asked().map(({ tool_choice }) => tool_choice), asked };
}

const named = (name: string) => ({ type: "function", function: { name } });

test.each([
  ["none", ["none"], 1],
  ["required", ["required", "auto"], 1],
  ["hand_over", [named("hand_over"), "auto"], 1],
  [["look_up", "required"], [named("look_up"), "required", "auto"], 2],
  ["auto", ["auto", "auto"], 1],
] as const)("toolChoice %j is said answer by answer", async (toolChoice, expected, times) => {
  const { glue, choices } = client();
  expect((await glue.complete(`${times} times`, { toolChoice })).finalResponse).toBe("the end");
  expect(choices()).toEqual(expected);
});

test("toolChoice of tools that the caller runs, and of a structured answer by tool", async () => {
  const { glue, choices } = client();
  await glue.complete("x", { toolChoice: "hand_over", executeTools: false });
  await glue
    .complete("x", { toolChoice: "look_up", outputMode: "tool", schema: z.object({}) })
    .catch(() => {});
  expect(choices().slice(0, 3)).toEqual([named("hand_over"), named("look_up"), "required"]);
});

test.each([
  [{ toolChoice: "nobody" }, /toolChoice: "nobody" is no tool of the call/],
  [{ toolChoice: "required", tools: [] }, /toolChoice: there are no tools/],
  [{ toolChoice: "auto", extra: { tool_choice: "none" } }, /extra.tool_choice/],
  [{ context: { big: "x".repeat(20_000) } }, /context: it has \d+ bytes/],
  [{ context: { big: 1n } }, /context: JSON cannot hold it/],
  [{ context: [] as never }, /context/],
  [{ stopWhen: true as never }, /stopWhen: must be a function/],
])("%s is refused at the caller", async (options, message) => {
  expect(String(await failureOf(client().glue.complete("x", options)))).toMatch(message);
});

test("functions of a call in this process: prepared, told of and stopped step by step, and forgotten at its end", async () => {
  const { glue, asked } = client();
  const told: Step[] = [];
  const options = {
    context: { user: "ada" },
    prepareStep: ({ number, steps }: { number: number; steps: readonly Step[] }) =>
      number === 0
        ? { toolChoice: "hand_over", tools: ["hand_over"], system: "Be quick." }
        : { system: `After ${steps.length}.` },
    onStep: (step: Step) => {
      told.push(step);
      throw new Error("nobody minds");
    },
    stopWhen: ({ steps, context }: { steps: readonly Step[]; context: object }) =>
      steps.length === 2 && "user" in context,
  };
  contexts.length = 0;
  const result = await glue.complete("9 times", options);
  expect(result).toMatchObject({ finishReason: "tool_calls", toolCallsMade: 2, finalResponse: "" });
  expect(contexts).toEqual([{ user: "ada" }, { user: "ada" }]);
  expect(told).toMatchObject([
    { number: 0, toolCalls: [{ name: "hand_over" }], toolExecutions: [{ result: "found" }] },
    { number: 1, toolCalls: [{ name: "look_up" }], tokensUsed: { total: 15 } },
  ]);
  expect(asked()).toMatchObject([
    {
      tool_choice: named("hand_over"),
      tools: [{ function: { name: "hand_over" } }],
      messages: [{ content: "Be quick." }, {}],
    },
    { tools: [{}, {}], messages: [{ content: "After 1." }, {}, {}, {}] },
  ]);
  const failing = { prepareStep: () => Promise.reject(new Error("no idea")), maxAttempts: 1 };
  expect(await failureOf(glue.complete("x", failing))).toMatchObject({
    code: "step_function_failed",
    message: expect.stringContaining("no idea"),
  });
});

test("in a fleet jobs name functions that the workers have; functions themselves cannot go there", async () => {
  const { glue } = client("fleet");
  site.start("worker", "--module", join(import.meta.dirname, "../support/fleet-steps.ts"));
  const result = await glue.complete("9 times", {
    tools: ["look_up"],
    steps: "careful",
    context: { most: 3 },
  });
  expect(result).toMatchObject({ toolCallsMade: 3 });
  expect(result.toolExecutionHistory[0]).toMatchObject({ result: '{"most":3}' });
  const refused = await failureOf(glue.complete("x", { stopWhen: () => true }));
  expect(refused).toMatchObject({ message: expect.stringContaining("cannot go to workers elsewhere") });
  expect(String(await failureOf(glue.enqueue("x", { onStep: () => {} })))).toContain(
    "may outlive this process",
  );
  const lacking = await glue.enqueue("x", { tools: ["look_up"], steps: "unheard_of" });
  await expect
    .poll(async () => (await lacking.status()).waitsFor)
    .toEqual([expect.stringContaining("a worker with the steps unheard_of")]);
  await lacking.cancel();
});

test("steps of one name are one", () => {
  expect(() => defineSteps({ name: "no spaces please" })).toThrow(/name/);
  expect(defineSteps({ name: "quiet" })).toMatchObject({ name: "quiet" });
});
