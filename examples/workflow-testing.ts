/**
 * Tests of a workflow and its tool, with a time that jumps and models that answer by a script: `node --test FILE`. Any
 * other test runner will do. In your project: `from "gluellm"` and `from "gluellm/testing"`.
 */
import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { defineTool, defineWorkflow } from "../src/index.ts";
import { createTestEnvironment } from "../src/testing/index.ts";

const DAY_MS = 86_400_000;

const stock = defineTool({
  name: "stock",
  description: "Tells how many pieces of an article there are.",
  parameters: z.object({ article: z.string() }),
  execute: ({ article }) => (article === "lamp" ? 3 : 0),
});

const offer = defineWorkflow({
  name: "offer",
  input: z.object({ article: z.string() }),
  output: z.string(),
  run: async (ctx, { article }) => {
    const { finalResponse } = await ctx.complete("write", `Offer a ${article}, if there is one.`, {
      tools: [stock],
    });
    ctx.metadata.set("offer", finalResponse);
    const isTaken = await ctx.waitFor("take", { timeoutMs: 3 * DAY_MS }).then(
      () => true,
      () => false,
    );
    return isTaken ? finalResponse : "nobody wanted it";
  },
});

/** The model looks into the stock, and then says what it found. */
const models = {
  "simulator:test": ({ toolResults }: { toolResults: readonly string[] }) =>
    toolResults.length === 0
      ? { toolCalls: [{ name: "stock", arguments: { article: "lamp" } }] }
      : `We have ${toolResults[0]} lamps.`,
};

test("an offer that somebody takes", async () => {
  await using env = await createTestEnvironment({ workflows: [offer], models });
  const run = await env.start(offer, { article: "lamp" });
  await env.skipTime(2 * DAY_MS);
  equal(await run.query("offer"), "We have 3 lamps.");
  await run.signal("take");
  equal(await env.result(run), "We have 3 lamps.");
  deepEqual(
    env.requests.map(({ toolResults }) => toolResults),
    [[], ["3"]],
  );
});

test("an offer that nobody takes within three days, which take no time here", async () => {
  await using env = await createTestEnvironment({ workflows: [offer], models });
  const before = env.now();
  equal(await env.run(offer, { article: "lamp" }), "nobody wanted it");
  equal(Math.floor((env.now() - before) / DAY_MS), 3);
});
