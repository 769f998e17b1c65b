import { expect, test } from "vitest";
import { TestSite } from "../support/site.ts";

/* The history of somebody who runs nothing but batches. */

test("a batch run by itself is in the history when it has ended, with its rows", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({}, { GLUELLM_HISTORY: "true" });
  const own = { GLUELLM_DATA_DIR: site.path("data") };
  const run = async (...args: string[]) => {
    const started = site.startWith(own, ...args);
    return { code: await started.exit, stdout: started.stdout(), stderr: started.stderr() };
  };
  expect((await run("history", "spend")).stdout).toMatch(/^nothing in this time; .*gluellm history backfill/);
  site.write("in.jsonl", site.rows(3));
  expect(await run(...site.batch())).toMatchObject({ code: 0 });
  const { stdout } = await run("history", "spend", "--json");
  expect(JSON.parse(stdout)).toMatchObject([{ calls: 3 }]);
  const status = await run("history", "status");
  expect(status.stdout).toContain("0 ends wait for it");
  const filled = await run("history", "backfill");
  expect(filled.stdout).toContain(
    "0 jobs, 0 runs and 1 batch of Redis are in the history; the rows of batches",
  );
});
