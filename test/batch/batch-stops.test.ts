import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

describe("input that stops the run before anything is sent", () => {
  test.each([
    [
      "a duplicate custom_id",
      [
        { custom_id: "a", prompt: "x" },
        { custom_id: "a", prompt: "y" },
      ],
      [],
      2,
      "in.jsonl:2",
    ],
    ["an unknown provider", [{ prompt: "x", model: "nobody:gpt" }], [], 2, "in.jsonl:1"],
    ["an unknown model", [{ prompt: "x", model: "openai:gpt-4o-mnii" }], [], 3, "GLUELLM_ALLOWED_MODELS"],
    ["a missing key", [{ prompt: "x", model: "anthropic:claude-sonnet-4-5" }], [], 3, "ANTHROPIC_API_KEY"],
    ["a malformed line with --strict", [{ prompt: "x" }, "{"], ["--strict"], 2, "in.jsonl:2"],
    ["an empty file", [""], [], 2, "in.jsonl"],
  ])("%s", async (_what, rows, options, code, text) => {
    await using site = await TestSite.open();
    site.write("in.jsonl", rows);
    const run = await site.run(...site.batch(...options));
    expect(run.stderr).toContain(text);
    expect(run.code).toBe(code);
    expect(site.simulator.journal.entries()).toEqual([]);
    expect(existsSync(site.path("out.jsonl"))).toBe(false);
  });

  test("the input is absent, the output folder is, an option is wrong", async () => {
    await using site = await TestSite.open();
    expect((await site.run(...site.batch())).code).toBe(2);
    site.write("in.jsonl", site.rows(1));
    expect((await site.run("batch", "run", "in.jsonl", "-o", "no/such/out.jsonl", "-m", MODEL)).code).toBe(2);
    const wrong = await site.run(...site.batch("--concurrency", "none"));
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("--concurrency");
    expect((await site.run("batch", "run", "in.jsonl")).code).toBe(2);
  });

  test("an output of another input is not overwritten", async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(2));
    const precious = `${JSON.stringify({ id: `batch_req_${"0".repeat(32)}`, custom_id: "z", response: {}, error: null })}\n`;
    writeFileSync(site.path("out.jsonl"), precious);
    expect((await site.run(...site.batch())).code).toBe(2);
    expect(readFileSync(site.path("out.jsonl"), "utf8")).toBe(precious);
  });
});

describe("account faults", () => {
  test("stop the batch, keep unsent rows unsent, exit 3, and the same command resumes", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({ faults: { "401": 1 } });
    site.write("in.jsonl", site.rows(200));
    const stopped = await site.run(...site.batch("--concurrency", "2"));
    expect(stopped.code).toBe(3);
    expect(stopped.stderr).toContain("SIMULATOR_API_KEY");
    expect(stopped.stderr).toContain("gluellm batch run in.jsonl");
    expect(site.simulator.journal.entries().length).toBeLessThan(20);
    site.simulator.setFaults({});
    const resumed = await site.run(...site.batch());
    expect(resumed.stderr).toContain("200 of 200 rows succeeded");
    expect(resumed.code).toBe(0);
  });
});

test("a key that is revoked in mid-run stops the rows of several worker processes, none of them failed", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({ latencyMs: 40 });
  site.write("in.jsonl", site.rows(400));
  const run = site.start(...site.batch("--workers", "2", "--concurrency", "4"));
  await waitFor("some answers", () => site.paidCalls().size > 40);
  site.simulator.setFaults({ "401": 1 });
  expect(await run.exit).toBe(3);
  expect(run.stderr()).toMatch(/the key is refused; simulator:test refused "row-\d+" \(line \d+\), "row-/);
  expect(run.stderr()).toContain("the provider said:");
  const lines = site.countLines("out.jsonl.partial") - 1;
  expect(lines, "every paid answer is kept, and nothing else").toBe(site.paidCalls().size);
});
