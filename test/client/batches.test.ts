import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import type { BatchProgress } from "../../src/index.ts";
import { failureOf } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

function optionsOf(site: TestSite, count: number) {
  return { inputPath: site.write("in.jsonl", site.rows(count)), outputPath: site.path("out.jsonl") };
}

test("a batch is run, followed and reported, and pays nothing when it is run again", async () => {
  await using site = await TestSite.open();
  const glue = siteClient(site, { mode: "local" });
  const options = optionsOf(site, 20);
  const run = await glue.batches.run(options);
  const seen: BatchProgress[] = [];
  for await (const progress of run.follow({ everyMs: 20 })) seen.push(progress);
  expect(seen[0]).toMatchObject({ total: 20, missing: 20 });
  expect(seen.at(-1)).toMatchObject({ total: 20, succeeded: 20, failed: 0, missing: 0 });

  const report = await run.report();
  expect(report).toMatchObject({ id: run.id, status: "completed", total: 20, succeeded: 20, failed: 0 });
  expect(site.read("out.jsonl").map((line) => line.custom_id)).toEqual(
    site.rows(20).map((row) => row.custom_id),
  );
  expect(existsSync(report.files.partial)).toBe(false);
  expect((await glue.batches.list()).map(({ id }) => id)).toEqual([run.id]);
  const status = await glue.batches.open(run.id).status();
  expect(status).toMatchObject({ status: "completed", succeeded: 20, costUsd: null, options: {} });
  expect(status.runner).toBeUndefined();

  const again = await (await glue.batches.run(options)).report();
  expect(again).toMatchObject({ status: "completed", succeeded: 20 });
  expect(site.simulator.journal.entries()).toHaveLength(20);
});

test("a run that was stopped goes on with what is missing", async () => {
  await using site = await TestSite.open({ latencyMs: 30 }, { GLUELLM_WORKER_CONCURRENCY: "2" });
  const glue = siteClient(site, { mode: "local" });
  const options = optionsOf(site, 40);
  const first = await glue.batches.run(options);
  await waitFor("some answers", () => first.progress().succeeded >= 4);
  first.stop();
  const stopped = await first.report();
  expect(stopped.status).toBe("interrupted");
  expect(stopped.succeeded).toBeLessThan(40);

  const second = await glue.batches.run(options);
  expect(second.id).toBe(first.id);
  expect(await second.report()).toMatchObject({ status: "completed", succeeded: 40 });
  expect(site.repeatedCalls()).toBe(0);
});

test("any process cancels a batch by its id; closing the client stops its runs", async () => {
  await using site = await TestSite.open({ latencyMs: 30 }, { GLUELLM_WORKER_CONCURRENCY: "2" });
  const glue = siteClient(site, { mode: "local" });
  const other = siteClient(site, { mode: "fleet" });
  const options = optionsOf(site, 60);
  const run = await glue.batches.run(options);
  await waitFor(
    "its runner",
    async () =>
      (
        await other.batches
          .open(run.id)
          .status()
          .catch(() => undefined)
      )?.runner,
  );
  expect(await other.batches.cancel(run.id)).toBe("cancelling");
  expect((await run.report()).status).toBe("cancelled");
  expect(await other.batches.cancel(run.id)).toBe("cancelled");

  const again = await glue.batches.run(options);
  await waitFor("an answer", () => again.progress().succeeded > 0);
  await glue.close();
  expect((await again.report()).status).toBe("interrupted");
  expect(await failureOf(glue.batches.run(options))).toMatchObject({ code: "client_closed" });
});

test("wrong input is one clear error, and nothing is sent", async () => {
  await using site = await TestSite.open();
  const glue = siteClient(site, { mode: "local" });
  const options = optionsOf(site, 2);
  const missing = { ...options, inputPath: site.path("none.jsonl") };
  expect(await failureOf(glue.batches.run(missing))).toMatchObject({ category: "input" });
  const unknown = { ...options, outputpath: "x" } as never;
  expect(await failureOf(glue.batches.run(unknown))).toMatchObject({
    message: expect.stringContaining("outputpath"),
  });
  expect(await failureOf(glue.batches.run({ ...options, model: "nowhere:x" }))).toMatchObject({
    message: expect.stringContaining("nowhere"),
  });
  const unpriced = await failureOf(glue.batches.run({ ...options, maxCostUsd: 1 }));
  expect(unpriced).toMatchObject({ code: "unpriced_model", message: expect.stringContaining("maxCostUsd") });
  expect(await failureOf(glue.batches.open("batch_none").status())).toMatchObject({ code: "unknown_batch" });
  expect(site.simulator.journal.entries()).toHaveLength(0);
});
