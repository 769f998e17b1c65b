import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MODEL, TestSite } from "../support/site.ts";

const MODULE = ["--module", join(import.meta.dirname, "../support/cli-workflows.ts")];

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: MODEL });
});
afterAll(() => site[Symbol.asyncDispose]());

const schedule = (...args: string[]) => site.run("schedule", ...args);

async function said(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await schedule(...args);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout.trimEnd();
}

test("create, show, list, next, pause, resume, trigger, delete", { tags: "long" }, async () => {
  const times = ["--cron", "30 2 * * *", "--timezone", "Europe/Berlin"];
  const input = ["--input-json", '{"topic": "tides"}'];
  const policies = ["--overlap", "queue", "--catch-up", "all", "--max-catch-up", "7", "--tag", "t"];
  expect(
    await said("create", "daily", "--workflow", "article", ...MODULE, ...input, ...times, ...policies),
  ).toMatch(/^schedule daily ticks next at 20\d\d-/);
  expect(await said("create", "ping", "--completion", "ping", "--every-ms", "86400000")).toMatch(
    /^schedule ping/,
  );
  expect(await said("list")).toMatch(
    /^SCHEDULE .*\ndaily +workflow article +30 2 \* \* \* Europe\/Berlin +active .*\nping +completion simulator:test +every 86400000 ms/,
  );
  const shown = await said("show", "daily");
  for (const line of [/overlap +queue/, /catch-up +all, at most 7/, /last run +none/])
    expect(shown).toMatch(line);
  expect((await said("next", "daily", "--count", "3")).split("\n")).toHaveLength(3);
  expect(JSON.parse(await said("next", "ping", "--json"))).toHaveLength(5);
  expect(await said("pause", "daily")).toBe("schedule daily is paused");
  expect(JSON.parse(await said("show", "daily", "--json"))).toMatchObject({ state: "paused", maxCatchUp: 7 });
  expect(await said("resume", "daily")).toMatch(/^schedule daily ticks again at 20/);
  const run = await said("trigger", "daily");
  expect(JSON.parse((await site.run("workflow", "status", run, "--json")).stdout)).toMatchObject({
    workflow: "article",
    tags: ["t", "schedule:daily"],
  });
  expect(await said("show", "daily")).toContain(`running   ${run}`);
  expect(await said("delete", "daily")).toBe("schedule daily is deleted");
  expect(await schedule("delete", "daily")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no schedule "daily"'),
  });
});

test.each([
  [["--completion", "x", "--cron", "0 0 30 2 *"], "never fires"],
  [
    ["--workflow", "article", ...MODULE, "--every-ms", "1000", "--input-json", '{"topic": 1}'],
    "wrong at topic",
  ],
])("%j is refused", async (args, message) => {
  const { code, stdout, stderr } = await schedule("create", "x", ...args);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(message);
  expect(stderr.trimEnd().split("\n").length).toBeLessThanOrEqual(2);
});
