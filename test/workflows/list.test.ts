import { expect, test } from "vitest";
import { defineWorkflow } from "../../src/index.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { listRuns } from "../../src/store/run-list.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { testStore } from "../support/redis.ts";
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
  for (const wrong of [
    { tag: "" },
    { tag: "a\nb" },
    { state: "done" },
    { from: 2, to: 1 },
    { version: 0 },
    { of: 1 },
  ])
    await expect(runs.list(wrong as object), JSON.stringify(wrong)).rejects.toThrow(
      "selection of runs is wrong",
    );
  for (const tag of ["", "x".repeat(201), "a\u0000b", "\ud800"])
    await expect(runs.start(quick, {}, { tags: [tag] }), tag).rejects.toThrow(
      "the run's tags are wrong at 0",
    );
});

test("a tag is found as a whole, whatever it is made of", async () => {
  const { runs } = await workflowSite();
  const tags = ["team=a,b", '","', "\\", "größe=ü 🦆", "[", "%d+"];
  await runs.start(quick, {}, { runId: "run-tags", tags });
  for (const tag of tags) expect(await runs.list({ tag }), tag).toHaveLength(1);
  for (const tag of ["team=a", ',"', "gr", '"', "%d", ".*"])
    expect(await runs.list({ tag }), tag).toEqual([]);
});

test("many runs with their states are a few questions to Redis, in whatever time they began", async () => {
  const { runs, redis, settings } = await workflowSite();
  const { prefix } = redisKeys(settings.namespace);
  // More began in one millisecond than a question looks at.
  const count = 2500;
  const pipeline = redis.pipeline();
  for (let n = 0; n < count; n++) {
    pipeline.hset(`${prefix}:workflow:run-${n}`, {
      workflow: "w",
      version: 1,
      status: n % 2 ? "failed" : "running",
    });
    pipeline.zadd(`${prefix}:workflow-runs`, 1_000_000 + (n < 500 ? n : 0), `run-${n}`);
  }
  await pipeline.exec();
  let questions = 0;
  const store = testStore(settings.namespace);
  const counting = new Proxy(store.redis, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      questions += 1;
      return value.bind(target);
    },
  });
  const { runs: found } = await listRuns({ ...store, redis: counting, keys: store.keys }, {}, 10_000);
  // Three pages; the first one may have to bring its script.
  expect(questions).toBeLessThanOrEqual(4);
  expect(new Set(found.map(({ id }) => id)).size).toBe(count);
  expect(found.filter(({ state }) => state === "failed")).toHaveLength(count / 2);
  expect(await runs.list({ limit: 10_000, state: "failed" })).toHaveLength(count / 2);
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
