import { cpSync, existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, expect, test } from "vitest";
import { startTimeOf } from "../../src/shared/process-identity.ts";
import { isInstalled, isSupportedNode } from "../../tools/setup.mjs";
import { runProcess, type StartedProcess, startNode } from "../support/processes.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

const ROOT = join(import.meta.dirname, "../..");

describe("what has to be installed", () => {
  test.each([
    ["v20.20.2", false],
    ["v22.23.0", false],
    ["v23.11.1", false],
    ["v24.0.0", true],
    ["v26.1.0", true],
  ])("Node.js %s is supported: %s", (version, supported) => {
    expect(isSupportedNode(version)).toBe(supported);
  });

  test("node_modules is compared with the lock file by date, then by content", () => {
    const folder = temporaryFolder();
    const lock = (version: string) => JSON.stringify({ packages: { "": {}, a: { version } } });
    const installed = join(folder, "node_modules", ".package-lock.json");
    const date = (path: string, seconds: number) => utimesSync(path, seconds, seconds);
    writeFileSync(join(folder, "package-lock.json"), lock("1.0.0"));
    expect(isInstalled(folder)).toBe(false);

    mkdirSync(join(folder, "node_modules"));
    writeFileSync(installed, JSON.stringify({ packages: { a: { version: "1.0.0" } } }));
    date(installed, 1000);
    expect(isInstalled(folder)).toBe(true);

    writeFileSync(join(folder, "package-lock.json"), lock("2.0.0"));
    date(installed, 1000);
    expect(isInstalled(folder)).toBe(false);
  });

  test("it says nothing when there is nothing to do", async () => {
    const setup = await runProcess(process.execPath, [join(ROOT, "tools", "setup.mjs")]);
    expect(setup).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});

/** A checkout whose set-up chooses another Node.js, and whose main program is `source`. */
function checkout(source: string): string {
  const folder = temporaryFolder();
  cpSync(join(ROOT, "bin"), join(folder, "bin"), { recursive: true });
  for (const name of ["tools", "src/cli", "other"]) mkdirSync(join(folder, name), { recursive: true });
  symlinkSync(process.execPath, join(folder, "other", "node"));
  const other = JSON.stringify(join(folder, "other", "node"));
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  writeFileSync(join(folder, "tools", "setup.mjs"), `export const ensureSetup = async () => ${other};`);
  writeFileSync(join(folder, "src", "cli", "main.ts"), source);
  return folder;
}

/** Writes its pid, then counts the signals it gets, and ends a while after the first with their number as exit code. */
const COUNT_SIGNALS = `
let signals = 0;
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => { if (signals++ === 0) setTimeout(() => process.exit(100 + signals), 300); });
console.log(process.pid);
setInterval(() => {}, 1000);
`;

interface Started {
  parent: StartedProcess["child"];
  childPid: number;
  exit: StartedProcess["exit"];
}

async function start(source: string): Promise<Started> {
  const folder = checkout(source);
  const { child, stdout, exit } = startNode([join(folder, "bin", "gluellm.js")], { detached: true });
  const childPid = Number(await waitFor("the child's pid", () => stdout().includes("\n") && stdout().trim()));
  expect(childPid).not.toBe(child.pid);
  return { parent: child, childPid, exit };
}

describe("the command under another Node.js", () => {
  test("arguments, input, search path and exit code pass through", async () => {
    const folder = checkout(`
      import { readFileSync } from "node:fs";
      const path = process.env.PATH?.split(":")[0];
      const { GLUELLM_RELAUNCHED_BY: mark } = process.env;
      console.log(JSON.stringify({ args: process.argv.slice(2), input: readFileSync(0, "utf8"), path, mark }));
      process.exitCode = 7;`);
    const args = [join(folder, "bin", "gluellm.js"), "batch", "two words", "--x=$HOME"];
    const result = await runProcess(process.execPath, args, { input: "from stdin" });
    expect(result).toMatchObject({ code: 7, stderr: "" });
    expect(JSON.parse(result.stdout)).toEqual({
      args: ["batch", "two words", "--x=$HOME"],
      input: "from stdin",
      path: join(folder, "other"),
    });
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s to the parent reaches the child once", async (signal) => {
    const { parent, exit } = await start(COUNT_SIGNALS);
    parent.kill(signal);
    expect(await exit).toBe(101);
  });

  test("Ctrl-C, which a terminal sends to both, reaches the child once", async () => {
    const { parent, exit } = await start(COUNT_SIGNALS);
    process.kill(-(parent.pid ?? 0), "SIGINT");
    expect(await exit).toBe(101);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "%s ends a child that does not listen, and the parent alike",
    async (signal) => {
      const { parent, exit } = await start("console.log(process.pid); setInterval(() => {}, 1000);");
      parent.kill(signal);
      expect(await exit).toBe(signal);
    },
  );

  test("kill -9 of the parent ends the child too", async () => {
    const { parent, childPid } = await start(COUNT_SIGNALS);
    parent.kill("SIGKILL");
    await waitFor("the child's end", () => startTimeOf(childPid) === undefined);
  });
});

async function findOldNode(): Promise<string | undefined> {
  const folders = (process.env.PATH ?? "").split(delimiter);
  for (const path of folders.map((folder) => join(folder, "node")).filter(existsSync)) {
    const { stdout } = await runProcess(path, ["--version"]);
    if (stdout && !isSupportedNode(stdout.trim())) return path;
  }
  return undefined;
}

const oldNode = await findOldNode();

test.skipIf(!oldNode)(
  `a published package says which Node.js it needs${oldNode ? "" : " (skipped: no old Node.js on the search path)"}`,
  async () => {
    const folder = temporaryFolder();
    cpSync(join(ROOT, "bin"), join(folder, "bin"), { recursive: true });
    writeFileSync(join(folder, "package.json"), '{"type": "module"}');
    const result = await runProcess(oldNode ?? "", [join(folder, "bin", "gluellm.js")]);
    expect(result).toMatchObject({ code: 3, stdout: "" });
    expect(result.stderr).toMatch(
      /^gluellm needs Node\.js 22\.19 or newer, and this is v\d+\.\d+\.\d+: install .*\n$/,
    );
  },
);
