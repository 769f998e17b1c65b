import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, type WorkflowHandle } from "../../src/index.ts";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { listRuns, type RunFilter } from "../../src/store/run-list.ts";
import { sweepEndedRuns } from "../../src/store/run-retention.ts";
import type { Store } from "../../src/store/store.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const LARGE = "x".repeat(20_000);

const reads = defineWorkflow({
  name: "reads",
  input: z.string(),
  output: z.string(),
  run: async (ctx, text) => {
    await ctx.waitFor("go");
    return text;
  },
});
const parent = anyWorkflow("parent", (ctx) => ctx.child("child", reads, `child ${LARGE}`));

type Damage = (store: Store, runId: string) => Promise<unknown>;
const asText = ({ redis }: Store, key: string) => redis.multi().del(key).set(key, "text").exec();
const blobOf = async ({ redis, keys }: Store, runId: string) =>
  keys.blob(JSON.parse((await redis.hget(keys.workflow(runId), "input")) ?? "").blob);
const addOops = ({ redis, keys }: Store, runId: string) => redis.rpush(keys.workflowJournal(runId), "{oops");

/** The id of its child run, whose job waits for a worker. */
async function childOf(store: Store, run: WorkflowHandle<unknown>): Promise<string> {
  return waitFor("the child's job", async () => {
    const [step] = await run.steps();
    const id = step?.job ?? "";
    return (await store.redis.exists(jobKey(store, workflowQueue("reads"), id))) === 1 ? id : undefined;
  });
}

/** What somebody did to a run of `reads` whose job waits for a worker. */
const DAMAGES: [what: string, damage: Damage, code: string][] = [
  ["a journal with an entry that is no JSON", addOops, "corrupt_data"],
  [
    "such a journal, of a run that has lost a worker",
    async (store, runId) => {
      await addOops(store, runId);
      await store.redis.hset(jobKey(store, workflowQueue("reads"), runId), "stc", 1);
    },
    "corrupt_data",
  ],
  ["a journal of another type", (store, id) => asText(store, store.keys.workflowJournal(id)), "corrupt_data"],
  ["a record of another type", (store, id) => asText(store, store.keys.workflow(id)), "corrupt_data"],
  [
    "a record with a field that is no JSON",
    ({ redis, keys }, id) => redis.hset(keys.workflow(id), "chain", "{oops"),
    "corrupt_data",
  ],
  [
    "a record with a time that is none",
    ({ redis, keys }, id) => redis.hset(keys.workflow(id), "deadlineAt", "soon"),
    "corrupt_data",
  ],
  [
    "a large input that is no JSON",
    async (store, id) => store.redis.hset(await blobOf(store, id), "data", "{oops"),
    "corrupt_data",
  ],
  [
    "a large input of another type",
    async (store, id) => asText(store, await blobOf(store, id)),
    "corrupt_data",
  ],
  ["no large input", async (store, id) => store.redis.del(await blobOf(store, id)), "blob_lost"],
];

describe("who waits for a run learns of its damage, and so does its parent:", () => {
  test.each(DAMAGES)("%s", async (_what, damage, code) => {
    const { runs, host, settings } = await workflowSite();
    const store = testStore(settings.namespace);
    await host([parent]);
    const alone = await runs.start(reads, LARGE);
    const above = await runs.start(parent, {});
    const child = await childOf(store, above);
    await damage(store, alone.id);
    await damage(store, child);
    await host([reads]);
    for (const run of [alone, above] as WorkflowHandle<unknown>[]) {
      await expect(run.result()).rejects.toMatchObject({ code });
    }
  });
});

test("a child run that is cancelled is told to its parent though its journal is damaged", async () => {
  const { runs, host, settings } = await workflowSite();
  const store = testStore(settings.namespace);
  await host([parent]);
  const above = await runs.start(parent, {});
  const child = await childOf(store, above);
  await addOops(store, child);
  await expect(runs.open(child).cancel()).rejects.toMatchObject({ code: "corrupt_data" });
  await expect(above.result()).rejects.toMatchObject({ code: "cancelled" });
});

test("a run ends with its own end though steps that it had under way are damaged", async () => {
  const { runs, host, settings } = await workflowSite();
  const store = testStore(settings.namespace);
  const hasty = anyWorkflow("hasty", async (ctx) => {
    const [one, other] = ["one", "other"].map((name) => ctx.child(name, reads, name));
    await Promise.race([one, other, ctx.waitFor("go")]);
    return "went";
  });
  const above = anyWorkflow("above", (ctx) => ctx.child("hasty", hasty, {}));
  await host([hasty, above]);
  const top = await runs.start(above, {});
  const ids = await waitFor("both of them", async () => {
    const [step] = await top.steps();
    const steps = step?.job ? await runs.open(step.job).steps() : [];
    return steps.length === 3 ? steps.map(({ job = "" }) => job) : undefined;
  });
  const [step] = await top.steps();
  const [first = "", second = ""] = ids;
  await store.redis.hset(store.keys.workflow(first), "chain", "{oops");
  await runs.open(step?.job ?? "").signal("go");
  expect(await top.result()).toBe("went");
  await waitFor("the other's end", async () => (await runs.open(second).status()).state === "cancelled");
});

test("a run whose record is damaged gives its place to the next one", async () => {
  const { runs, work, settings } = await workflowSite();
  const store = testStore(settings.namespace);
  const one = defineWorkflow({ ...reads, name: "one", concurrency: { limit: 1 } });
  await work(one);
  const first = await runs.start(one, "first");
  await waitFor("its wait", async () => (await first.steps()).length === 1);
  const second = await runs.start(one, "second");
  await waitFor("its place in line", async () => (await second.status()).waitsFor[0]?.includes("a place"));
  await store.redis.hset(store.keys.workflow(first.id), "chain", "{oops");
  await first.signal("go");
  await second.signal("go");
  expect(await second.result()).toBe("second");
});

test("a child run ends though its parent's record cannot be read", async () => {
  const { runs, host, settings } = await workflowSite();
  const store = testStore(settings.namespace);
  await host([parent]);
  const above = await runs.start(parent, {});
  const child = await childOf(store, above);
  await store.redis.hset(store.keys.workflow(above.id), "chain", "{oops");
  await host([reads]);
  await runs.open(child).signal("go");
  await expect(runs.open(child).result()).rejects.toMatchObject({ code: "corrupt_data" });
});

test("damaged runs are neither in the way of lists, nor of the end of other runs' lives", async () => {
  const { runs, settings } = await workflowSite();
  const store = testStore(settings.namespace);
  const { redis, keys } = store;
  const [typed, tagged, journal, healthy] = await Promise.all(
    ["typed", "tagged", "journal", "healthy"].map((runId) =>
      runs.start(reads, runId, { runId, tags: ["one"] }),
    ),
  );
  await Promise.all([journal, healthy].map((run) => run?.cancel()));
  await asText(store, keys.workflow(typed?.id ?? ""));
  await redis.hset(keys.workflow(tagged?.id ?? ""), "tags", "{oops");
  await asText(store, keys.workflowJournal(journal?.id ?? ""));
  const idsOf = async (filter: RunFilter) => (await listRuns(store, filter, 10)).runs.map(({ id }) => id);
  expect((await idsOf({})).sort()).toEqual(["healthy", "journal", "tagged"]);
  expect((await idsOf({ tag: "one" })).sort()).toEqual(["healthy", "journal"]);
  expect(await sweepEndedRuns(store, Date.now() + 60_000)).toBe(2);
  expect(await idsOf({})).toEqual(["tagged"]);
});
