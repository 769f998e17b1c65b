import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const ROWS = 60_000;
const CONCURRENCY = 20;
const results = (site: TestSite) =>
  existsSync(site.path("out.jsonl.partial")) ? site.countLines("out.jsonl.partial") - 1 : 0;

test("rows of a large file are sent while it is scanned; a killed run's index is gone on with", async () => {
  await using site = await TestSite.open({ latencyMs: 50 });
  site.write("in.jsonl", site.rows(ROWS));
  const killed = site.start(...site.batch("--concurrency", String(CONCURRENCY)));
  await waitFor(
    "results of the first run",
    () => results(site) > 100 && killed.stderr().includes("rows so far done"),
  );
  killed.child.kill("SIGKILL");
  await killed.exit;
  expect(existsSync(site.path("out.jsonl.index"))).toBe(true);
  const found = results(site);

  const resumed = site.start(...site.batch("--concurrency", String(CONCURRENCY)));
  await waitFor("results of the second run", () => results(site) > found + 200);
  resumed.child.kill("SIGINT");
  expect(await resumed.exit).toBe(130);
  expect(site.repeatedCalls()).toBeLessThanOrEqual(CONCURRENCY);
});

test("a fault in the rest of a large file stops it with its line, and keeps what was paid", async () => {
  await using site = await TestSite.open({ latencyMs: 50 });
  const rows = site.rows(ROWS);
  site.write("in.jsonl", [...rows, rows[7]]);
  const run = await site.run(...site.batch("--concurrency", String(CONCURRENCY)));
  expect(run.code).toBe(2);
  expect(run.stderr).toContain(`in.jsonl:${ROWS + 1}: custom_id "row-7" was used before, at`);
  expect(run.stderr).toContain("results are safe in");
  expect(results(site)).toBeGreaterThan(CONCURRENCY);
  expect(existsSync(site.path("out.jsonl"))).toBe(false);

  site.write("in.jsonl", rows);
  const corrected = await site.run(...site.batch("--limit", "40"));
  expect(corrected).toMatchObject({ code: 0, stderr: expect.stringContaining("40 of 40 rows succeeded") });
  expect(site.repeatedCalls()).toBe(0);
});
