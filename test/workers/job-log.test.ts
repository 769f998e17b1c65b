import { expect, test } from "vitest";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const SECRET = "who killed Laura Palmer?";

test("a finished job has a line at debug with its figures, without a word of what was asked or answered", async () => {
  await using site = await TestSite.open({}, { GLUELLM_LOG_LEVEL: "debug", GLUELLM_LOG_JSON_FORMAT: "true" });
  const worker = site.start("worker");
  const script = `${SECRET}\n#sim {"reply": "it was ${SECRET}"}`;
  expect((await site.run("complete", script, "-m", MODEL, "--workers", "0")).code).toBe(0);
  const finished = () =>
    worker
      .stderr()
      .split("\n")
      .filter((line) => line.includes("job finished"))
      .map((line) => JSON.parse(line))[0];
  await waitFor("the line", () => finished() !== undefined);
  expect(finished()).toMatchObject({
    time: expect.any(Number),
    queue: "completions.simulator.test",
    jobId: expect.stringMatching(/^job-/),
    model: MODEL,
    latencyMs: expect.any(Number),
    promptTokens: expect.any(Number),
    completionTokens: expect.any(Number),
    costUsd: null,
    attempts: 1,
  });
  expect(worker.stderr()).not.toContain("Palmer");
});

test("a line of the log has date, time and all its fields in one line", async () => {
  await using site = await TestSite.open({}, { GLUELLM_LOG_LEVEL: "debug" });
  const worker = site.start("worker");
  expect((await site.run("complete", "hello", "-m", MODEL, "--workers", "0")).code).toBe(0);
  await waitFor("the line", () => worker.stderr().includes("job finished"));
  const lines = worker.stderr().trimEnd().split("\n");
  const stamp = /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] [A-Z]+: /;
  expect(lines.filter((line) => line.includes("{") && !stamp.test(line))).toEqual([]);
  expect(lines.find((line) => line.includes("job finished"))).toMatch(stamp);
  expect(lines.find((line) => line.includes("job finished"))).toMatch(
    /"model":"simulator:test".*"attempts":1/,
  );
});
