import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { runCli } from "../support/cli.ts";
import { examplesOf } from "../support/examples.ts";
import { runProcess } from "../support/processes.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = (args: readonly string[], folder = temporaryFolder()) =>
  runCli(["examples", ...args], {}, folder);

test("every example is listed with a sentence", async () => {
  const { code, stdout } = await run(["--json"]);
  expect(code).toBe(0);
  const listed = JSON.parse(stdout) as { name: string; about: string }[];
  expect(listed.map(({ name }) => name)).toEqual(examplesOf(() => true));
  for (const { name, about } of listed) expect(about, name).toMatch(/^[A-Z].{15,140}\.$/);
  expect((await run([])).stdout).toMatch(/^basic-usage +The client in a few lines/m);
});

test("one is printed as it is in a project of one's own, and told how to run", async () => {
  const { code, stdout, stderr } = await run(["workflow-testing"]);
  expect(code).toBe(0);
  expect(stdout).toContain('import { createTestEnvironment } from "gluellm/testing";');
  expect(stdout).not.toMatch(/\.\.\/src|In your project/);
  expect(stderr).toMatch(/npm install gluellm zod@[\d.]+\n +node --test workflow-testing\.mts\n/);
});

test("one is copied with its parts, over nothing that is there", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "workflow-react.mts"), "mine");
  const copied = await run(["workflow-react", "--to", ".", "--json"], folder);
  expect(JSON.parse(copied.stdout)).toMatchObject({
    written: ["parts/arithmetic.mts", "parts/documents.mts"],
    kept: ["workflow-react.mts"],
  });
  expect(readFileSync(join(folder, "workflow-react.mts"), "utf8")).toBe("mine");
  const [, docs = ""] =
    /import\.meta\.dirname, "(.+)"/.exec(readFileSync(join(folder, "parts/documents.mts"), "utf8")) ?? [];
  expect(readFileSync(join(folder, "parts", docs, "tools.md"), "utf8")).toMatch(/^# /);
});

test("a name that no example has is refused, with the nearest", async () => {
  const { code, stderr } = await run(["tols"]);
  expect(code).toBe(2);
  expect(stderr).toContain("there is no example tols\n  → did you mean tools?");
});

test.runIf(inject("isFull"))("all of them, copied into a project, are of the right types there", async () => {
  const folder = temporaryFolder();
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  for (const name of examplesOf(() => true)) {
    const { code, stderr } = await run([name, "--to", "src"], folder);
    expect(code, stderr).toBe(0);
  }
  const compilerOptions = {
    rootDir: "/",
    paths: {
      gluellm: [join(ROOT, "src/index.ts")],
      "gluellm/testing": [join(ROOT, "src/testing/index.ts")],
    },
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: join(ROOT, "tsconfig.json"), compilerOptions, include: ["src"], exclude: [] }),
  );
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  const checked = await runProcess(process.execPath, [tsc, "-p", folder, "--checkers", "1"], { cwd: folder });
  expect(checked).toMatchObject({ code: 0, stdout: "" });
});
