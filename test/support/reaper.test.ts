import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ProcessOptions, startNode } from "./processes.ts";
import { temporaryFolder } from "./redis-folders.ts";
import { processesOf } from "./survivors.ts";
import { waitFor } from "./wait-for.ts";

const ROOT = join(import.meta.dirname, "../..");
const VITEST = join(ROOT, "node_modules/vitest/vitest.mjs");
const CONFIG = join(import.meta.dirname, "left-behind/vitest.config.ts");

/** A run of tests of its own, whose processes and files are all below `folder`. */
function runLeftBehind(env: ProcessOptions["env"] = {}) {
  const folder = temporaryFolder();
  const run = startNode([VITEST, "run", "--config", CONFIG], { cwd: ROOT, env: { TMPDIR: folder, ...env } });
  return { folder, ...run };
}

async function expectNothingLeft(folder: string): Promise<void> {
  await waitFor("the end of all processes", () => processesOf(folder).length === 0);
  expect(readdirSync(folder)).toEqual([]);
}

test.skipIf(process.platform !== "linux")(
  "a test that fails leaves no process and no Redis",
  { tags: "long" },
  async () => {
    const { folder, stdout, exit } = runLeftBehind();
    await waitFor("its processes", () => stdout().includes("all are started"));
    expect(await exit).toBe(1);
    expect(stdout()).toContain("1 failed");
    await expectNothingLeft(folder);
  },
);

test.skipIf(process.platform !== "linux")(
  "nor does a run that is killed in mid-test",
  { tags: "long" },
  async () => {
    const { folder, child, stdout, exit } = runLeftBehind({ LEFT_BEHIND_HANGS: "1" });
    await waitFor("its processes", () => stdout().includes("all are started"));
    child.kill("SIGKILL");
    expect(await exit).toBe("SIGKILL");
    await expectNothingLeft(folder);
  },
);
