import { readdirSync, readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { describe, expect, inject, test } from "vitest";
import type { Bill } from "../../src/cli/demo/bill.ts";
import { billLines } from "../../src/cli/demo/bill.ts";
import { widthOf } from "../../src/cli/progress/text-layout.ts";
import { MAIN, startCli } from "../support/cli.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { testSystem } from "../support/system.ts";
import { Terminal } from "../support/terminal.ts";
import { waitFor } from "../support/wait-for.ts";

/** A demo with a temporary folder of its own, in which all that it makes must lie, and all of it must go. */
function demoSite() {
  const folder = temporaryFolder();
  const { searchPath, cacheDir } = testSystem();
  return {
    folder,
    env: { TMPDIR: folder, PATH: searchPath, XDG_CACHE_HOME: cacheDir.replace(/\/gluellm$/, "") },
    // A setting of the user's that would lead elsewhere is not read.
    strangeEnv: { GLUELLM_REDIS_URL: "redis://127.0.0.1:1", GLUELLM_NAMESPACE: "production" },
    left: () => readdirSync(folder).filter((name) => name.startsWith("gluellm-demo-")),
  };
}

/** Returns the processes that have a demo's folder below this one in their environment. */
function processesOf(folder: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`${folder}/gluellm-demo-`);
      } catch {
        return false;
      }
    });
}

test("a worker is killed in mid-call, its open calls alone are repeated, and nothing stays", {
  tags: "long",
}, async () => {
  const { folder, env, strangeEnv, left } = demoSite();
  const run = startCli(["demo", "--fast", "--json"], { ...env, ...strangeEnv }, folder);
  await waitFor("its workers", () => processesOf(folder).length > 0);
  expect(await run.exit).toBe(0);
  expect(run.stderr()).toMatch(/kill -9 \d+: worker A is dead, with \d+ calls? in flight/);
  const bill = JSON.parse(run.stdout()) as Bill;
  expect(bill).toMatchObject({ rows: 40, answeredRows: 40, callsOfSecondRun: 0 });
  expect(bill.paidCalls).toBe(40 + bill.callsPaidTwice);
  expect(bill.cutOffCalls).toBeGreaterThan(0);
  expect(bill.repeatedCalls).toBe(bill.cutOffCalls + bill.callsPaidTwice);
  expect(bill.callsPaidTwice).toBe(0);
  expect(bill.withoutRecords.calls).toBeGreaterThan(0);
  expect(bill.spentUsd).toBeGreaterThan(bill.withoutRecords.usd);
  expect(left()).toEqual([]);
  expect(processesOf(folder)).toEqual([]);
});

describe.runIf(inject("isFull"))("on a terminal", () => {
  test.each([60, 160])("of %d columns every line fits, and one picture stands", async (columns) => {
    const { folder, env, left } = demoSite();
    const terminal = await Terminal.start([MAIN, "demo", "--fast"], { columns, rows: 30, env, cwd: folder });
    expect(await terminal.run.exit).toBe(0);
    const printed = stripVTControlCharacters(terminal.raw).split(/\r?\n/);
    expect(Math.max(...printed.map((line) => widthOf(line)))).toBeLessThanOrEqual(columns);
    const lines = await terminal.lines();
    expect(lines.filter((line) => /^━+ +100 %$/.test(line))).toHaveLength(1);
    expect(lines.join("\n")).toMatch(/THE BILL[\s\S]*paid twice +0\n/);
    expect(left()).toEqual([]);
  });

  test("Ctrl-C ends workers and Redis, and removes the files", async () => {
    const { folder, env, left } = demoSite();
    const terminal = await Terminal.start([MAIN, "demo"], { columns: 80, rows: 30, env, cwd: folder });
    await waitFor("rows", async () => /[1-9]\d* of 240 rows/.test((await terminal.lines()).join("\n")));
    terminal.type("\u0003");
    expect(await terminal.run.exit).toBe(130);
    expect((await terminal.lines()).join("\n")).toContain(
      "demo stopped; its Redis, workers and files are gone",
    );
    expect(left()).toEqual([]);
    expect(processesOf(folder)).toEqual([]);
  });
});

test("the bill fits any terminal", () => {
  const bill: Bill = {
    ...{ rows: 1200, answeredRows: 1200, calls: 1204, paidCalls: 1200, cutOffCalls: 4, repeatedCalls: 4 },
    ...{ callsPaidTwice: 0, spentUsd: 1234.5, callsOfSecondRun: 0 },
    withoutRecords: { calls: 431, usd: 0.0034 },
  };
  for (const columns of [60, 80, 100, 160]) {
    const lines = billLines(bill, columns, (text) => text);
    expect(Math.max(...lines.map((line) => widthOf(line))), `${columns} columns`).toBeLessThanOrEqual(
      columns,
    );
    expect(lines.join("\n")).toMatch(/paid twice +0\n/);
  }
});
