import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { BulkReport } from "../../src/client/bulk-change.ts";
import { MODEL, TestSite } from "../support/site.ts";

const MODULE = ["--module", join(import.meta.dirname, "../support/cli-workflows.ts")];

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: MODEL });
  site.write("article.json", [{ topic: "tides" }]);
});
afterAll(() => site[Symbol.asyncDispose]());

const workflow = (...args: string[]) => site.run("workflow", ...args);

test("runs are started with tags, found by them, and cancelled together after a look at which they are", {
  tags: "long",
}, async () => {
  const start = (id: string, ...tags: string[]) =>
    workflow(
      ...["run", "article", "--config", "article.json", ...MODULE, "--no-wait", "--run-id", id],
      ...tags.flatMap((tag) => ["--tag", tag]),
    );
  await Promise.all([start("a", "team=x", "urgent"), start("b", "team=x"), start("c", "team=y")]);
  const listed = await workflow("list", "--runs", "--tag", "team=x", "--state", "running", "--json");
  expect((JSON.parse(listed.stdout) as { id: string; tags: string[] }[]).map(({ id }) => id).sort()).toEqual([
    "a",
    "b",
  ]);
  expect((await workflow("list", "--runs", "--tag", "urgent")).stdout).toMatch(
    /^RUN .*\na +article +running .*\n$/,
  );
  expect((await workflow("list", "--runs", "--tag", "none")).stdout).toBe(
    "no run of the last 30 days fits tag=none\n",
  );

  const dry = await workflow("cancel", "--workflow", "article", "--tag", "team=x", "--dry-run");
  expect([dry.code, dry.stdout.split("\n", 1)[0]]).toEqual([
    0,
    "2 runs would be cancelled; nothing was changed",
  ]);
  expect(dry.stdout).toMatch(/\n {2}a {2}article {2}running {2}20\d\d-/);
  const signalled = await workflow("signal", "approval", '{"by": "Ada"}', "--tag", "team=y", "--json");
  expect(JSON.parse(signalled.stdout) as BulkReport).toMatchObject({
    matched: 1,
    changed: 1,
    dedupeId: expect.any(String),
  });
  expect(await workflow("cancel", "--tag", "team=x")).toMatchObject({ code: 0, stdout: "2 cancelled\n" });
  expect(await workflow("cancel", "--tag", "team=x")).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringMatching(/^error: no run fits tag=team=x and can be cancelled\n/),
  });
});

test.each([
  [["cancel"], "give a run's id, or options that choose runs"],
  [["cancel", "a", "--tag", "x"], "not both"],
  [["cancel", "--tag", ""], "a tag has at least one character"],
  [["run", "article", "--tag", "", "--config", "article.json", ...MODULE], "the run's tags are wrong at 0"],
  [["cancel", "--state", "done"], "Allowed choices are running, succeeded, failed, cancelled"],
  [["retry", "--from", "yesterday"], "a date and time"],
  [["signal", "go"], "give the run's id and the signal's name"],
])("%j is refused with one sentence", async (args, says) => {
  const { code, stdout, stderr } = await workflow(...args);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(says);
});
