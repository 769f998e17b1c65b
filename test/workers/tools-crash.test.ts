import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startCli } from "../support/cli.ts";
import { startNode } from "../support/processes.ts";
import { testRedis } from "../support/redis.ts";
import { sampleOf } from "../support/sample.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { add, charge } from "../support/tools.ts";
import { waitFor } from "../support/wait-for.ts";

const MODULE = join(import.meta.dirname, "../support/tools.ts");
const KILLED_WORKER = join(import.meta.dirname, "../support/killed-worker.ts");
/** Five answers that call a tool, five results, and the last answer. */
const TURNS = [
  ...Array.from({ length: 5 }, (_, n) => ({ toolCalls: [{ name: "add", arguments: { a: n, b: n } }] })),
  { reply: "the end" },
];
const BOUNDARIES = sampleOf(
  "boundaries of a tool loop",
  Array.from({ length: 11 }, (_, n) => n + 1),
  3,
);

async function openSite(): Promise<TestSite> {
  const site = await TestSite.open({}, SHORT_LOCKS);
  onTestFinished(() => site[Symbol.asyncDispose]());
  return site;
}

test("a worker killed at any boundary of a six-turn loop: no finished turn is sent again", {
  tags: "long",
}, async () => {
  const site = await openSite();
  const glue = siteClient(site, { tools: [add] });
  const handles = await Promise.all(
    BOUNDARIES.map((n) =>
      glue.enqueue(`killed after ${n}\n#sim ${JSON.stringify({ turns: TURNS })}`, {
        model: `simulator:killed-${n}`,
      }),
    ),
  );
  await Promise.all(
    BOUNDARIES.map(async (n) => {
      const args = [KILLED_WORKER, `completions.simulator.killed-${n}`, String(n)];
      const { exit, stderr } = startNode(args, { env: site.env });
      expect(await exit, stderr()).toBe("SIGKILL");
    }),
  );
  site.start("worker", "--module", MODULE);
  const results = await Promise.all(handles.map((handle) => handle.result()));
  const sums = TURNS.slice(0, 5).map((_, n) => String(n + n));
  for (const result of results) {
    expect(result.finalResponse).toBe("the end");
    expect(result.toolExecutionHistory.map(({ result }) => result)).toEqual(sums);
  }
  const hashes = site.simulator.journal.entries().map(({ contentHash }) => contentHash);
  expect(hashes).toHaveLength(BOUNDARIES.length * TURNS.length);
  expect(new Set(hashes).size).toBe(hashes.length);
});

test("a tool that is not idempotent is never run again: the model is told that its outcome is unknown", {
  tags: "long",
}, async () => {
  const site = await openSite();
  const glue = siteClient(site, { tools: [charge] });
  const turns = [
    { toolCalls: [{ name: "charge", arguments: { customer: "Ada" } }] },
    { reply: "asked a person" },
  ];
  const TRACE_FILE = site.path("trace");
  const handle = await glue.enqueue(`charge Ada\n#sim ${JSON.stringify({ turns })}`);
  const env = { ...site.env, TRACE_FILE, KILLED_BY_CHARGE: "1" };
  expect(await startCli(["worker", "--module", MODULE], env, site.folder).exit).toBe("SIGKILL");
  site.start("worker", "--module", MODULE);
  const result = await handle.result();
  expect(readFileSync(TRACE_FILE, "utf8")).toBe("charge Ada\n");
  expect(result.toolExecutionHistory).toMatchObject([
    {
      toolName: "charge",
      error: { code: "outcome_unknown", message: expect.stringContaining("not repeated") },
    },
  ]);
  expect(site.simulator.journal.entries()).toHaveLength(2);
});

test("the journal goes with the result, and stays with a failure for an operator's retry", async () => {
  const site = await openSite();
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  site.start("worker", "--module", MODULE);
  const glue = siteClient(site, { tools: [add] });
  const [first] = TURNS;
  const done = await glue.enqueue(`done\n#sim ${JSON.stringify({ turns: [first, { reply: "ok" }] })}`);
  const failed = await glue.enqueue(`failed\n#sim ${JSON.stringify({ turns: [first, { error: "400" }] })}`);
  await done.result();
  await expect(failed.result()).rejects.toMatchObject({ code: "invalid_request" });
  const journals = await waitFor("the journals", () => redis.keys(`*${site.namespace}*:journal:*`));
  expect(journals).toEqual([expect.stringContaining(failed.id)]);
});
