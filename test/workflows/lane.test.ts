import { expect, test } from "vitest";
import { z } from "zod";
import { Agent } from "../../src/index.ts";
import type { BatchPlanChange } from "../../src/simulator/batches/plan.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { CLAUDE_MODEL, MODEL, NATIVE_MODEL } from "../support/site.ts";
import { add } from "../support/tools.ts";
import { workflowSite } from "../support/workflow-site.ts";

/* Calls of jobs and of workflows' steps that are bought in provider batches. */

const PRICES = JSON.stringify({ "*": { inputPerMillion: 1e6, outputPerMillion: 1e6 } });
const sim = (directive: object) => `\n#sim ${JSON.stringify(directive)}`;

/** A fleet whose providers' minutes are milliseconds, which the plan knows from what it has seen. */
async function laneFleet(plan: BatchPlanChange = {}) {
  const fleet = await workflowSite(
    { batchSpeed: 1000 },
    { GLUELLM_LANE_POLL_MS: "50", GLUELLM_LANE_RESERVE_MS: "500", GLUELLM_PRICES: PRICES },
  );
  const seen = JSON.stringify(Array.from({ length: 50 }, () => 300));
  const durations = `{gluellm:${fleet.settings.namespace}}:lane-durations`;
  for (const model of [MODEL, CLAUDE_MODEL, "simulator:adder"])
    await fleet.redis.hset(durations, model, seen);
  fleet.site.simulator.setBatches({ durationMs: 100_000, ...plan });
  const paid = () => fleet.site.simulator.journal.entries().filter(({ status }) => status === 200);
  const lanes = () => paid().map(({ lane }) => lane);
  return { ...fleet, paid, lanes };
}

test.each([MODEL, CLAUDE_MODEL])(
  "steps of a run on %s are bought in batches, with tools and structured answers, each call once and at half the price",
  async (model) => {
    const { runs, work, paid, lanes } = await laneFleet();
    const options = { lane: "batch", by: "1h", model } as const;
    const adder = new Agent({
      name: "adder",
      description: "Adds.",
      systemPrompt: "Add.",
      tools: [add],
      model,
    });
    const cheap = anyWorkflow("cheap", async (ctx) => {
      const turns = [{ toolCalls: [{ name: "add", arguments: { a: 2, b: 3 } }] }, { reply: "five" }];
      const [texts, sum, score] = await Promise.all([
        Promise.all(["a", "b", "c"].map((name) => ctx.complete(name, `word ${name}`, options))),
        ctx.agent("sum", adder, `2 + 3?${sim({ turns })}`, options),
        ctx.complete("score", `rate it${sim({ json: { score: 7 } })}`, {
          ...options,
          schema: z.object({ score: z.number() }),
        }),
      ]);
      const all = [...texts, sum, score];
      return {
        lanes: all.map(({ lane }) => lane),
        missed: all.flatMap(({ laneMissed }) => laneMissed ?? []),
        five: sum.finalResponse,
        score: score.output.score,
        costUsd: all.reduce((total, { costUsd }) => total + (costUsd ?? 0), 0),
      };
    });
    await work(cheap);
    const output = await (await runs.start(cheap, {})).result();
    const tokens = paid().reduce((total, one) => total + one.promptTokens + one.completionTokens, 0);
    expect(output).toMatchObject({ lanes: Array(5).fill("batch"), missed: [], five: "five", score: 7 });
    expect((output as { costUsd: number }).costUsd).toBeCloseTo(tokens / 2, 6);
    expect(lanes()).toEqual(Array(6).fill("batch"));
  },
);

test("what no batch has done in time goes in the tier flex, or online; nothing is paid twice, and the result says why", {
  tags: "long",
}, async () => {
  const { client, work, lanes, redis } = await laneFleet({ durationMs: 1e9 });
  await work();
  const ask = (model: string, by: string) => client.complete(`hello ${model}`, { model, lane: "batch", by });
  const [simulated, claude, native] = await Promise.all([
    ask(MODEL, "20s"),
    ask(CLAUDE_MODEL, "10s"),
    ask(NATIVE_MODEL, "1h"),
  ]);
  expect(simulated).toMatchObject({ lane: "flex", laneMissed: "no provider batch was done in time" });
  expect(claude.lane).toBe(undefined);
  expect(claude.laneMissed).toBe("no provider batch was done in time");
  expect(native).toMatchObject({ laneMissed: "native has no provider batches" });
  expect(lanes().sort()).toEqual(["flex", "online", "online"]);
  // Nothing is left of what was asked for.
  expect(await redis.keys("*lane-answer*")).toEqual([]);
});

test("a conversation goes on in batches; a cost limit holds there; by belongs to lane and lies ahead", async () => {
  const { client, work, lanes } = await laneFleet();
  await work();
  const options = { model: MODEL, lane: "batch", by: "1h" } as const;
  const talk = client.conversation();
  await talk.complete(`my name is Ada${sim({ reply: "hello Ada" })}`, options);
  expect((await talk.complete("who am I?", options)).lane).toBe("batch");
  expect((await talk.messages()).map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
  const poor = client.complete("dear", { ...options, maxCostUsd: 1e-6 });
  await expect(poor).rejects.toMatchObject({ code: "cost_limit" });
  expect((await client.complete("fair", { ...options, maxCostUsd: 1e6 })).lane).toBe("batch");
  expect(lanes()).toEqual(["batch", "batch", "batch"]);
  await expect(client.complete("x", { by: "1h" })).rejects.toMatchObject({ code: "invalid_input" });
  await expect(client.complete("x", { lane: "batch", by: new Date(0) })).rejects.toMatchObject({
    code: "invalid_deadline",
  });
});
