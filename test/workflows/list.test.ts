import { expect, test } from "vitest";
import { defineWorkflow } from "../../src/index.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const quick = anyWorkflow("quick", async () => 1);
const broken = defineWorkflow({
  ...anyWorkflow("broken", () => Promise.reject(new Error("no"))),
  version: 3,
});

test("runs are listed by state, workflow, version, tag and time, page by page, each with what it is", async () => {
  const { runs, host } = await workflowSite();
  const before = Date.now();
  // Many begin in the same millisecond.
  const started = await Promise.all(
    Array.from({ length: 30 }, (_, n) =>
      runs.start(n % 3 === 0 ? broken : quick, {}, { runId: `run-${n}`, tags: [`of ${n % 2}`, 'odd "tag"'] }),
    ),
  );
  const ids = async (options: Parameters<typeof runs.list>[0]) =>
    (await runs.list(options)).map(({ id }) => id);
  expect(await ids({ state: "running" })).toHaveLength(30);
  expect(await ids({ tag: "of 1" })).toHaveLength(15);
  expect(await ids({ tag: "of" })).toEqual([]);
  expect(await ids({ tag: 'odd "tag"', workflow: "broken", version: 3 })).toHaveLength(10);
  expect(await ids({ version: 2 })).toEqual([]);
  expect(await ids({ from: before })).toHaveLength(30);
  expect(await ids({ to: before })).toEqual([]);
  expect(await ids({ from: new Date(Date.now() + 60_000) })).toEqual([]);

  const pages: string[][] = [];
  let cursor: string | undefined;
  do {
    const page = await runs.list({ workflow: "quick", limit: 7, cursor });
    pages.push(page.map(({ id }) => id));
    cursor = page.cursor;
  } while (cursor !== undefined);
  expect(pages.map((page) => page.length)).toEqual([7, 7, 6]);
  expect(pages.flat()).toEqual(await ids({ workflow: "quick" }));
  expect(new Set(pages.flat()).size).toBe(20);

  await host([quick, broken]);
  await Promise.allSettled(started.map((run) => run.result()));
  expect(await ids({ state: "failed" })).toHaveLength(10);
  const [listed] = await runs.list({ state: "succeeded", limit: 1 });
  const { workflow, tags, createdAt } = (await listed?.status()) ?? {};
  expect(listed?.listed).toEqual({
    ...{ id: listed?.id, state: "succeeded", version: 1, workflow, tags },
    startedAt: createdAt?.getTime(),
  });
  await expect(runs.list({ cursor: "none" })).rejects.toThrow('"none" is no cursor');
  await expect(runs.list({ limit: 0 })).rejects.toThrow("limit");
  await expect(runs.start(quick, {}, { tags: [""] })).rejects.toThrow("tags");
});

test("a signal starts the run when there is none, and goes to the one that stands", async () => {
  const { runs, host } = await workflowSite();
  const cart = anyWorkflow("cart", async (ctx, { n }) => [
    n,
    await ctx.waitFor("add"),
    await ctx.waitFor("add"),
  ]);
  const add = (data: string, n: number, dedupeId?: string) =>
    runs.signalWithStart(cart, { n: n }, { runId: "cart-1", signalName: "add", data, dedupeId });
  await add("a", 1, "first");
  await add("a", 1, "first");
  await host([cart]);
  // Another input: the run that stands keeps its own.
  const run = await add("b", 2);
  expect(await run.result()).toEqual([1, "a", "b"]);
  const other = { runId: "cart-1", signalName: "add" };
  await expect(runs.signalWithStart(quick, {}, other)).rejects.toMatchObject({ code: "run_conflict" });
  await expect(add("c", 1)).rejects.toMatchObject({ code: "run_over" });
});

test("a value that a run publishes is read while it works", async () => {
  const { runs, host } = await workflowSite();
  const release = Promise.withResolvers<void>();
  const counting = anyWorkflow("counting", async (ctx) => {
    ctx.metadata.set("progress", { done: 3, of: 10 });
    await ctx.run("more", () => release.promise);
    ctx.metadata.set("progress", { done: 10, of: 10 });
  });
  await host([counting]);
  const run = await runs.start(counting, {});
  const progress = () => run.query<{ done: number }>("progress").catch(() => undefined);
  await waitFor("the progress", async () => (await progress())?.done === 3);
  await expect(run.query("none")).rejects.toMatchObject({ code: "unknown_query", hint: "it has: progress" });
  release.resolve();
  await run.result();
  expect(await run.query("progress")).toEqual({ done: 10, of: 10 });
});
