import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { runTests } from "../../src/cli/run-tests.ts";
import { runCli } from "../support/cli.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

const run = (...args: string[]) => runCli(["run-tests", "--no-integration", ...args], {}, temporaryFolder());

test("tests are chosen by file and name, and each is named with --verbose", async () => {
  const { code, stdout } = await run(
    "--verbose",
    "--class",
    "shared/thrown-text",
    "--test",
    "a (text|number)$",
  );
  const lines = stripVTControlCharacters(stdout).split("\n");
  expect(code, stdout).toBe(0);
  expect(lines.filter((line) => line.includes("✓")).map((line) => line.replace(/\s*\d+ms$/, ""))).toEqual([
    expect.stringMatching(/thrown-text\.test\.ts > a text$/),
    expect.stringMatching(/thrown-text\.test\.ts > a number$/),
  ]);
});

test("a choice that fits nothing fails", async () => {
  const { code, stdout, stderr } = await run("-c", "no-such-file");
  expect(stdout + stderr).toContain("No test files found");
  expect(code).toBe(1);
});

test("an installed package says where the tests are", async () => {
  await expect(runTests(temporaryFolder(), { integration: true })).rejects.toMatchObject({
    code: "no_checkout",
    hint: expect.stringContaining("gluellm test-completion --simulator"),
  });
});
