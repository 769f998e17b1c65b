import { expect, test } from "vitest";
import { z } from "zod";
import { Agent, GlueLLM, StructuredOutputError } from "../../src/index.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { add } from "../support/tools.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const sim = (directive: object) => `\n#sim ${JSON.stringify(directive)}`;

test("an agent brings its prompt, its model and its tools, which the worker beside the workflow runs", async () => {
  const { runs, work } = await workflowSite();
  const adder = new Agent({
    name: "adder",
    description: "Adds.",
    systemPrompt: "Add.",
    tools: [add],
    model: "simulator:adder",
  });
  const calculation = anyWorkflow("calculation", async (ctx) => {
    const turns = [{ toolCalls: [{ name: "add", arguments: { a: 2, b: 3 } }] }, { reply: "five" }];
    const { finalResponse, model, toolExecutionHistory } = await ctx.agent(
      "sum",
      adder,
      `2 + 3?${sim({ turns })}`,
    );
    return [finalResponse, model, toolExecutionHistory.map(({ result }) => result)];
  });
  await work(calculation);
  const run = await runs.start(calculation, {});
  expect(await run.result()).toEqual(["five", "simulator:adder", ["5"]]);
  expect((await run.steps())[0]).toMatchObject({
    step: "sum",
    subject: "simulator:adder",
    state: "succeeded",
  });
});

test("a structured answer is the schema's value in every replay, and one that fits never is an error", async () => {
  const { runs, workReplaying } = await workflowSite();
  const schema = z.object({
    score: z
      .number()
      .max(10)
      .transform((score) => score / 10),
  });
  const judged = anyWorkflow("judged", async (ctx) => {
    const { score } = await ctx.structured("score", `rate it${sim({ json: { score: 7 } })}`, { schema });
    await ctx.sleep(1);
    const options = { schema, maxRepairs: 0 };
    const fault = await ctx
      .structured("wrong", `rate it${sim({ json: { score: 70 } })}`, options)
      .catch((e) => e);
    await ctx.sleep(1);
    return [score, fault instanceof StructuredOutputError];
  });
  await workReplaying(judged);
  expect(await (await runs.start(judged, {})).result()).toEqual([0.7, true]);
});

test("a step with fallback models waits in their common queue, is repaired and cancelled there", async () => {
  const { runs, queueOf, host, serveModels } = await workflowSite();
  const model = ["simulator:first", "simulator:second"];
  const chained = anyWorkflow("chained", (ctx) =>
    ctx.complete("ask", "hello", { model }).then((result) => result.model),
  );
  const slow = anyWorkflow("slow", (ctx) =>
    ctx.complete("ask", `hello${sim({ latencyMs: 20_000 })}`, { model }),
  );
  await host([chained, slow]);
  const waiting = await runs.start(slow, {});
  const run = await runs.start(chained, {});
  const route = queueOf("completions.route");
  await waitFor("both steps", async () => (await route.getJobCountByTypes("waiting")) === 2);
  await waiting.cancel();
  expect(await route.getJobCountByTypes("waiting")).toBe(1);
  await serveModels();
  expect(await run.result()).toBe("simulator:first");
});

test("calls that name no model have that of who started the run, whichever worker takes it up", async () => {
  const { runs, settings, workReplaying } = await workflowSite();
  await using glue = new GlueLLM({ mode: "fleet", settings, model: "simulator:starter" });
  const plain = anyWorkflow("plain", async (ctx) => {
    const first = await ctx.complete("ask", "hello");
    await ctx.sleep(1);
    return [first.model, (await ctx.complete("ask", "again")).model];
  });
  const run = await glue.workflows.start(plain, {});
  // Its own default is another one.
  await workReplaying(plain);
  expect(await runs.open(run.id).result()).toEqual(["simulator:starter", "simulator:starter"]);
});
