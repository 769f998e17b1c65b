import { expect, test } from "vitest";
import { z } from "zod";
import { defineTool, defineWorkflow, GlueLLM } from "../../src/index.ts";
import { say } from "../support/any-workflow.ts";
import { failureOf } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { script } from "../support/talk.ts";

const echo = defineWorkflow({
  name: "echo",
  input: z.string(),
  output: z.string(),
  run: (ctx, text) => say(ctx, "say", text),
});

/** Clients of two tenants and one of none, over one fleet. */
async function threeClients(site: TestSite) {
  const worker = siteClient(site, { mode: "local", workflows: [echo] });
  const of = (tenant?: string) => siteClient(site, { tenant, workflows: [echo] });
  await worker.complete("wake up");
  return { red: of("red"), blue: of("blue"), plain: of(), worker };
}

test("what a tenant makes is as if it were not there for another one", async () => {
  await using site = await TestSite.open();
  const { red, blue, plain } = await threeClients(site);

  const job = await red.enqueue("a question of red");
  await job.result();
  for (const open of [
    () => blue.handle(job.id).result(),
    () => blue.handle(job.id).status(),
    () => blue.handle(job.id).cancel(),
    () => Array.fromAsync(blue.handle(job.id).stream()),
    () => siteClient(site, { tenant: "default" }).handle(job.id).result(),
  ])
    expect(await failureOf(open())).toMatchObject({ code: "job_lost" });
  expect((await red.handle(job.id).result()).jobId).toBe(job.id);
  expect((await plain.handle(job.id).result()).jobId, "a client of no tenant opens all").toBe(job.id);

  const waiting = await red.enqueue("later", { delayMs: 3_600_000 });
  expect(await failureOf(blue.handle(waiting.id).cancel()), "before it has a record").toMatchObject({
    code: "job_lost",
  });
  expect(await red.handle(waiting.id).cancel()).toBe(true);
  expect(await failureOf(blue.handle(waiting.id).status())).toMatchObject({ code: "job_lost" });

  const run = await red.workflows.start(echo, "of red", { runId: "shared-name" });
  await run.result();
  for (const open of [
    () => blue.workflows.open(run.id).status(),
    () => blue.workflows.open(run.id).steps(),
    () => blue.workflows.open(run.id).result(),
    () => blue.workflows.open(run.id).cancel(),
    () => blue.workflows.open(run.id).signal("x"),
    () => blue.workflows.open(run.id).fork({ fromStep: "say" }),
  ])
    expect(await failureOf(open())).toMatchObject({ code: "job_lost" });
  expect(await failureOf(blue.workflows.start(echo, "of red", { runId: "shared-name" }))).toMatchObject({
    code: "run_conflict",
  });
  expect(await blue.workflows.list()).toHaveLength(0);
  expect((await red.workflows.list()).map(({ id }) => id)).toEqual([run.id]);
  expect((await plain.workflows.list()).map(({ id }) => id)).toEqual([run.id]);
  const step = (await run.steps())[0]?.job ?? "";
  expect((await red.handle(step).result()).jobId, "a run's calls are its tenant's").toBe(step);
  expect(await failureOf(blue.handle(step).result())).toMatchObject({ code: "job_lost" });

  const options = { inputPath: site.write("in.jsonl", site.rows(3)), outputPath: site.path("out.jsonl") };
  const batch = await red.batches.run(options);
  await batch.report();
  expect(await failureOf(blue.batches.open(batch.id).status())).toMatchObject({ code: "unknown_batch" });
  expect(await failureOf(blue.batches.cancel(batch.id))).toMatchObject({ code: "unknown_batch" });
  expect(await blue.batches.list()).toHaveLength(0);
  expect((await red.batches.list()).map(({ id }) => id)).toEqual([batch.id]);
});

test("names that callers choose are their tenant's own", async () => {
  await using site = await TestSite.open();
  const { red, blue, plain } = await threeClients(site);
  const keyed = (glue: GlueLLM, text: string) => glue.complete(text, { idempotencyKey: "the key" });
  const [first, second, third] = [
    await keyed(red, "one"),
    await keyed(blue, "two"),
    await keyed(plain, "three"),
  ];
  expect(new Set([first.jobId, second.jobId, third.jobId]).size).toBe(3);
  expect((await keyed(red, "one")).jobId).toBe(first.jobId);

  for (const glue of [red, blue, plain]) {
    const talk = glue.conversation({ id: "support" });
    expect(talk.id).toBe("support");
    await talk.complete("hello");
    expect(await talk.messages(), "its own turns alone").toHaveLength(2);
    await glue.complete("again", { conversation: "support" });
    expect(await talk.messages()).toHaveLength(4);
  }

  const asked = { temperature: 0, cache: true };
  await red.complete("the same question", asked);
  expect((await blue.complete("the same question", asked)).fromCache, "nobody else's answer").toBe(false);
  expect((await red.complete("the same question", asked)).fromCache).toBe(true);
});

test("what a tool asks for belongs to the tenant of its job", async () => {
  await using site = await TestSite.open();
  const inner = siteClient(site);
  const ask = defineTool({
    name: "ask",
    description: "asks",
    parameters: z.object({}),
    execute: async () => (await inner.enqueue("from a tool")).id,
  });
  siteClient(site, { mode: "local", tools: [ask] });
  const red = siteClient(site, { mode: "local", tenant: "red", tools: [ask] });
  const turns = [{ toolCalls: [{ name: "ask", arguments: {} }] }, { reply: "done" }];
  const { toolExecutionHistory } = await red.complete(script("call the tool", ...turns));
  const id = toolExecutionHistory[0]?.result ?? "";
  expect((await red.handle(id).result()).jobId).toBe(id);
  expect(await failureOf(siteClient(site, { tenant: "blue" }).handle(id).result())).toMatchObject({
    code: "job_lost",
  });
});

test.each(["", " ", "a/b", "a:b", "-a", "ü", "x".repeat(65), "a\n"])("the tenant %j is refused", (tenant) => {
  expect(() => new GlueLLM({ tenant })).toThrow(/tenant/);
});
