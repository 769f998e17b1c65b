import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineTool, defineWorkflow, type GlueLLM, type GlueLLMOptions, type Tool } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { startCli } from "../support/cli.ts";
import { askAndDie, askExpert } from "../support/nested-tools.ts";
import { testRedis } from "../support/redis.ts";
import { sizeOf } from "../support/sample.ts";
import { MODEL, SHORT_LOCKS, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";
import { queueOf } from "../support/worker-fleet.ts";

const MODULE = join(import.meta.dirname, "../support/nested-tools.ts");
const JOBS = sizeOf(1000, 40);

async function openSite(env: Record<string, string> = {}): Promise<TestSite> {
  const site = await TestSite.open({ latencyMs: 1 }, { GLUELLM_DEFAULT_MODEL: MODEL, ...env });
  onTestFinished(() => site[Symbol.asyncDispose]());
  return site;
}

/** A client that works in this process. */
function localClient(site: TestSite, env: Record<string, string>, options: GlueLLMOptions = {}): GlueLLM {
  const settings = loadSettings({ env: { ...site.env, ...env }, cwd: "/" });
  return siteClient(site, { mode: "local", settings, ...options });
}

function expert(ask: (question: string) => Promise<unknown>): Tool {
  const parameters = z.object({ question: z.string() });
  const execute = ({ question }: { question: string }) => ask(question);
  return defineTool({ name: "ask_expert", description: "Asks an expert.", parameters, execute });
}

/** The question makes the model call the expert with another one, and so on. */
function nested(...questions: string[]): string {
  const [question = "", ...rest] = questions;
  if (rest.length === 0) return question;
  const turns = [
    { toolCalls: [{ name: "ask_expert", arguments: { question: nested(...rest) } }] },
    { reply: `${question} answered` },
  ];
  return `${question}\n#sim ${JSON.stringify({ turns })}`;
}

const outer = (count: number) => Array.from({ length: count }, (_, n) => nested(`outer ${n}`, `inner ${n}`));

test.each([
  ["20 slots", { GLUELLM_WORKER_CONCURRENCY: "20" }],
  ["20 slots and one job in tools", { GLUELLM_WORKER_CONCURRENCY: "20", GLUELLM_MAX_JOBS_IN_TOOLS: "1" }],
  ["one slot", { GLUELLM_WORKER_CONCURRENCY: "1" }],
])(
  "more jobs than slots whose tools call the same queue all end, each call paid once: %s",
  async (_, env) => {
    const site = await openSite();
    const glue = localClient(site, env);
    const tool = expert(async (question) => (await glue.complete(question)).finalResponse);
    const results = await Promise.all(outer(JOBS).map((prompt) => glue.complete(prompt, { tools: [tool] })));
    expect(results.map(({ finalResponse }) => finalResponse)).toEqual(
      Array.from({ length: JOBS }, (_, n) => `outer ${n} answered`),
    );
    expect(new Set(results.map(({ attempts }) => attempts))).toEqual(new Set([1]));
    expect(site.simulator.journal.entries()).toHaveLength(3 * JOBS);
  },
);

test("several levels deep, with one job in tools and one slot", async () => {
  const site = await openSite();
  const glue = localClient(site, { GLUELLM_WORKER_CONCURRENCY: "1", GLUELLM_MAX_JOBS_IN_TOOLS: "1" });
  const tool = expert(async (question) => (await glue.complete(question, { tools: [tool] })).finalResponse);
  const prompts = ["a", "b", "c", "d"].map((name) =>
    nested(...Array.from({ length: 6 }, (_, n) => `${name}${n}`)),
  );
  const results = await Promise.all(prompts.map((prompt) => glue.complete(prompt, { tools: [tool] })));
  expect(results.map(({ finalResponse }) => finalResponse)).toEqual(
    ["a", "b", "c", "d"].map((name) => `${name}0 answered`),
  );
});

test("a tool that calls itself by way of the model ends after 32 levels, as an error for the model", async () => {
  const site = await openSite();
  const glue = localClient(site, {});
  const errors: unknown[] = [];
  const again = `again\n#sim ${JSON.stringify({ turns: [{ toolCalls: [{ name: "ask_expert", arguments: { question: "" } }] }, { reply: "ok" }] })}`;
  const tool = expert(async () => {
    try {
      return (await glue.complete(again, { tools: [tool] })).finalResponse;
    } catch (error) {
      errors.push(error);
      throw error;
    }
  });
  expect((await glue.complete(again, { tools: [tool] })).finalResponse).toBe("ok");
  expect(errors).toMatchObject([{ code: "nesting_too_deep" }]);
  expect(site.simulator.journal.entries()).toHaveLength(2 * 33);
});

test("what a tool begins passes the bound: a workflow with tools, a conversation, a fallback model", async () => {
  const site = await openSite();
  const flow = defineWorkflow({
    name: "ask",
    version: 1,
    input: z.object({ question: z.string() }),
    output: z.string(),
    run: async (ctx, { question }) =>
      (await ctx.complete("ask", nested(question, "innermost"), { tools: [innermost] })).finalResponse,
  });
  const env = { GLUELLM_MAX_JOBS_IN_TOOLS: "1", GLUELLM_WORKER_CONCURRENCY: "1" };
  const glue: GlueLLM = localClient(site, env, { workflows: [flow] });
  const innermost = expert(async (question) => (await glue.complete(question)).finalResponse);
  const tool = defineTool({
    name: "delegate",
    description: "Asks everybody.",
    parameters: z.object({}),
    execute: async () => {
      const run = await glue.workflows.start(flow, { question: "by a workflow" });
      const models = ["simulator:first", "simulator:second"];
      const [first, second] = await Promise.all([
        glue.conversation().complete(nested("in a conversation", "innermost"), { tools: [innermost] }),
        glue.complete(nested("routed", "innermost"), { tools: [innermost], model: models }),
      ]);
      return [await run.result(), first.finalResponse, second.finalResponse];
    },
  });
  const turns = [{ toolCalls: [{ name: "delegate" }] }, { reply: "all asked" }];
  const { toolExecutionHistory } = await glue.complete(`all\n#sim ${JSON.stringify({ turns })}`, {
    tools: [tool],
  });
  expect(toolExecutionHistory).toMatchObject([
    { result: JSON.stringify(["by a workflow answered", "in a conversation answered", "routed answered"]) },
  ]);
});

test("at the bound a job whose call is paid is back in its queue, and says so; its slot is free", async () => {
  const site = await openSite();
  const glue = localClient(site, { GLUELLM_MAX_JOBS_IN_TOOLS: "1", GLUELLM_WORKER_CONCURRENCY: "1" });
  const first = Promise.withResolvers<string>();
  const asked: string[] = [];
  const tool = expert((question) => {
    asked.push(question);
    return question === "inner 0" ? first.promise : Promise.resolve("at once");
  });
  const [prompt = "", other = ""] = outer(2);
  const running = await glue.enqueue(prompt, { tools: [tool] });
  await waitFor("the first tool", () => asked.length > 0);
  const waiting = await glue.enqueue(other, { tools: [tool] });
  const status = await waitFor("a reason", async () => {
    const found = await waiting.status();
    return found.waitsFor[0] && found;
  });
  expect(status).toMatchObject({ state: "delayed", waitsFor: [expect.stringContaining("its tools")] });
  expect(await glue.complete("a plain one")).toMatchObject({ finishReason: "stop" });
  first.resolve("now");
  expect((await running.result()).finalResponse).toBe("outer 0 answered");
  expect(await waiting.result()).toMatchObject({ finalResponse: "outer 1 answered", attempts: 1 });
  expect(asked).toEqual(["inner 0", "inner 1"]);
  expect(site.simulator.journal.entries()).toHaveLength(5);
});

test("in a fleet of two workers, wherever the nested jobs run", { tags: "long" }, async () => {
  const site = await openSite({ GLUELLM_WORKER_CONCURRENCY: "2", GLUELLM_MAX_JOBS_IN_TOOLS: "2" });
  site.start("worker", "--module", MODULE);
  site.start("worker", "--module", MODULE);
  const glue = siteClient(site, { tools: [askExpert] });
  const results = await Promise.all(outer(24).map((prompt) => glue.complete(prompt)));
  expect(results).toHaveLength(24);
  expect(site.simulator.journal.entries()).toHaveLength(3 * 24);
});

test("a tool that is run again after a crash buys nothing again, and equal questions of one run are two", {
  tags: "long",
}, async () => {
  const site = await openSite(SHORT_LOCKS);
  const TRACE_FILE = site.path("trace");
  const glue = siteClient(site, { tools: [askAndDie] });
  const turns = [
    { toolCalls: [{ name: "ask_and_die", arguments: { question: "inner" } }] },
    { reply: "done" },
  ];
  const handle = await glue.enqueue(`outer\n#sim ${JSON.stringify({ turns })}`);
  const killed = startCli(
    ["worker", "--module", MODULE],
    { ...site.env, TRACE_FILE, KILLED: "1" },
    site.folder,
  );
  expect(await killed.exit).toBe("SIGKILL");
  startCli(["worker", "--module", MODULE], { ...site.env, TRACE_FILE }, site.folder);
  expect((await handle.result()).finalResponse).toBe("done");
  const [before = "", after] = readFileSync(TRACE_FILE, "utf8").trim().split("\n");
  expect(after).toBe(before);
  expect(new Set(before.split(" ")).size).toBe(3);
  expect(site.paidCalls().get("inner")).toBe(2);
  expect(site.simulator.journal.entries()).toHaveLength(5);
});

test("the end of a job ends what its tools wait for, and leaves what they only began", async () => {
  const site = await openSite();
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const glue = localClient(site, {});
  const begun = Promise.withResolvers<string>();
  const told = Promise.withResolvers<unknown>();
  const tool = expert(async (question) => {
    begun.resolve((await glue.enqueue(question)).id);
    await glue.complete("waited for", { delayMs: 3_600_000 }).catch(told.resolve);
  });
  const handle = await glue.enqueue(nested("outer", "inner"), { tools: [tool] });
  const inner = glue.handle(await begun.promise);
  const queue = queueOf(redis, site);
  await waitFor("the call that the tool waits for", async () => (await queue.getDelayedCount()) === 1);
  await handle.cancel();
  expect(await told.promise).toMatchObject({ code: "cancelled", cause: "cancelled" });
  await waitFor("its end", async () => (await queue.getDelayedCount()) === 0);
  expect(await inner.result()).toMatchObject({ finishReason: "stop" });
});
