import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { describeError } from "../../src/cli/exit.ts";
import { table } from "../../src/cli/options.ts";
import { checkReportFile } from "../../src/cli/report-file.ts";
import { InputError } from "../../src/shared/errors.ts";
import { matchesGlob } from "../../src/shared/glob.ts";
import { MAIN, runCli, startCli } from "../support/cli.ts";
import { runProcess } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gluellm-cli-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const IN_A_GONE_FOLDER = `
  require("node:fs").rmdirSync(process.cwd());
  const { status } = require("node:child_process").spawnSync(
    process.execPath, [process.argv[1], "queues"], { stdio: "inherit" },
  );
  process.exitCode = status;
`;
const STACK = /\n {4}at /;
const ESCAPE = "\u001b[31m";

test("a wrong Redis URL is a setting's fault", async () => {
  const { code, stderr } = await runCli(["queues"], { GLUELLM_REDIS_URL: "redis://[bad" }, folder);
  expect(code).toBe(3);
  expect(stderr).toContain("GLUELLM_REDIS_URL: is not a URL");
  expect(stderr).not.toMatch(STACK);
});

test("a data folder that cannot be made ends the command", async () => {
  const dataDir = "/proc/gluellm";
  const { code, stderr } = await runCli(["queues"], { GLUELLM_DATA_DIR: dataDir }, folder);
  expect(code).toBe(3);
  expect(stderr).toContain(`the data folder ${dataDir} cannot be used`);
});

test("a current folder that is gone is said so", async () => {
  const gone = join(folder, "gone");
  mkdirSync(gone);
  // A shell that stays in a folder somebody removes.
  const shell = ["-e", IN_A_GONE_FOLDER, MAIN];
  const { code, stderr } = await runProcess(process.execPath, shell, { cwd: gone });
  expect(code).toBe(3);
  expect(stderr).toContain("the current folder no longer exists");
});

test("a terminal that is closed ends a command in order", async () => {
  const run = startCli(["simulate", "--port", "0"], {}, folder);
  await waitFor("the simulator", () => run.stdout().includes("127.0.0.1"));
  run.child.kill("SIGHUP");
  expect(await run.exit).toBe(129);
});

test("a reader that goes away ends the command quietly", async () => {
  const run = startCli(["--help"], {}, folder);
  run.child.stdout?.destroy();
  expect(await run.exit).toBe(0);
  expect(run.stderr()).toBe("");
});

test("a model's control characters do not reach the terminal", async () => {
  const input = join(folder, "in.jsonl");
  writeFileSync(input, `${JSON.stringify({ prompt: "hi", model: `simulator:${ESCAPE}` })}\n`);
  const { code, stderr } = await runCli(["batch", "run", input, "-o", "out.jsonl"], {}, folder);
  expect(code).toBe(2);
  expect(stderr).toContain("simulator:\\u001b[31m");
  expect(stderr).not.toContain(ESCAPE);
  expect(table([["A"], [`x${ESCAPE}\u009b\u202e\ny`]])).toBe("A\nx\\u001b[31m\\u009b\\u202e y");
});

test("a discarded transaction is told by its cause", () => {
  const error = Object.assign(new Error("EXECABORT"), {
    name: "ReplyError",
    previousErrors: [new Error("OOM command not allowed")],
  });
  expect(describeError(error)).toContain("Redis refused a command: OOM command not allowed");
  expect(describeError(error)).not.toMatch(STACK);
});

test("an empty prompt is refused before anything is started", async () => {
  const { code, stderr } = await runCli(["complete", " ", "-m", "simulator:demo"], {}, folder);
  expect(code).toBe(2);
  expect(stderr).toContain("the prompt is empty");
});

test("a report never overwrites the batch's files", async () => {
  const input = join(folder, "in.jsonl");
  const output = join(folder, "out.jsonl");
  const line = '{"prompt":"hi"}\n';
  writeFileSync(input, line);
  const taken = [input, output, `${output}.partial`, join(folder, "out.errors.jsonl")];
  for (const path of taken) expect(() => checkReportFile(path, input, output)).toThrow(InputError);
  expect(() => checkReportFile(join(folder, "no", "r.json"), input, output)).toThrow("cannot be written");
  expect(() => checkReportFile(folder, input, output)).toThrow("is a folder");
  expect(() => checkReportFile(join(folder, "r.json"), input, output)).not.toThrow();
  const args = ["batch", "run", input, "-o", output, "--report", "in.jsonl", "-m", "simulator:demo"];
  expect((await runCli(args, {}, folder)).code).toBe(2);
  expect(readFileSync(input, "utf8")).toBe(line);
});

test("mistyped names are answered with those that are meant", async () => {
  const settings = { GLUELLM_NAMESPACE: "hints", GLUELLM_REDIS_URL: `unix://${inject("redisSocket")}` };
  const said = async (...args: string[]) => {
    const { code, stderr } = await runCli(args, settings, folder);
    return `${code} ${stderr}`;
  };
  const [command, below, workflow, input, options, queue] = await Promise.all([
    said("bacth", "run"),
    said("queues", "reumse", "x"),
    said("workflow", "run", "pipline"),
    said("workflow", "run", "debate"),
    said("batch", "run", "in.jsonl", "-o", "o.jsonl", "--modle", "x"),
    said("queues", "resume", "none"),
  ]);
  expect(command).toMatch(/^2 error: unknown command 'bacth'\n\(Did you mean batch\?\)/);
  expect(below).toMatch(/^2 error: unknown command 'reumse'\n\(did you mean resume\?/);
  expect(workflow).toMatch(/^2 error: no workflow "pipline"\n {2}→ did you mean pipeline\? known: /);
  expect(input).toMatch(
    /^2 error: the input of workflow "debate" is wrong at input: .*\n {2}→ give it with --input TEXT/,
  );
  expect(options).toMatch(/^2 error: unknown option '--modle'\n\(Did you mean --model\?\)/);
  expect(queue).toMatch(/^2 error: no queue none\n {2}→ gluellm queues lists them: none yet/);
});

test.each([
  ["*", "", true],
  ["a*b*c", "a-b-b-c", true],
  ["a*b*c", "ab", false],
  ["ab*ba", "aba", false],
  ["*a*", "bab", true],
  ["a", "ab", false],
  ["a.c", "abc", false],
])("glob %s on %s: %s", (pattern, text, fits) => {
  expect(matchesGlob(pattern, text)).toBe(fits);
});

test("a glob of thousands of * is soon decided", () => {
  expect(matchesGlob(`${"*a".repeat(5000)}b`, "a".repeat(10_000))).toBe(false);
});
