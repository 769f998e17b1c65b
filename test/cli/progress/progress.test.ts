import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MAIN } from "../../support/cli.ts";
import { TestSite } from "../../support/site.ts";
import { Terminal } from "../../support/terminal.ts";
import { waitFor } from "../../support/wait-for.ts";

const ESCAPE = "\u001b[";
const COLOURS = ["1", "2", "31", "32", "33", "36"].map((code) => `${ESCAPE}${code}m`);

/** A batch that takes some seconds at this limit, on a terminal of this size. */
async function open(columns: number, rowCount: number, rpm: number, ...args: string[]) {
  const site = await TestSite.open({ rpm, faults: { 400: 0.1 } });
  site.write("in.jsonl", site.rows(rowCount));
  const start = (env: Record<string, string> = {}) =>
    Terminal.start([MAIN, ...site.batch(...args)], {
      columns,
      rows: 30,
      env: { ...site.env, ...env },
      cwd: site.folder,
    });
  return { site, start, [Symbol.asyncDispose]: () => site[Symbol.asyncDispose]() };
}

const hasColour = (text: string) => COLOURS.some((colour) => text.includes(colour));
const bars = (lines: readonly string[]) => lines.filter((line) => /^[━╸─]+ +\d+ %$/.test(line));

describe("on a terminal", () => {
  test("one picture is drawn in place and stays whole, also when the terminal becomes narrower and wider", {
    tags: "long",
  }, async () => {
    // More rows than could be done before the last look: a run that has ended draws no more.
    await using batch = await open(100, 5000, 1200);
    const terminal = await batch.start();
    const rowsDone = async () =>
      Number(/([\d,]+) of 5,000 rows/.exec((await terminal.lines()).join("\n"))?.[1]?.replace(",", "") ?? 0);
    await waitFor("rows", async () => (await rowsDone()) > 0);
    let resizes = 0;
    for (const columns of [60, 40, 160]) {
      await terminal.resize(columns, 30);
      resizes += 1;
      const atResize = await rowsDone();
      // Between the resize and the next picture the terminal has wrapped the old one. A picture that was drawn while the
      // terminal changed may stay, once for each change.
      await waitFor("a picture of this width, and none of later", async () => {
        const all = bars(await terminal.lines());
        return all.at(-1)?.length === columns && all.length <= 1 + resizes;
      });
      await waitFor("more rows", async () => (await rowsDone()) > atResize);
    }
    terminal.type("\u0003");
    expect(await terminal.run.exit).toBe(130);
    const lines = await terminal.lines();
    expect(bars(lines).length).toBeLessThanOrEqual(1 + resizes);
    const heads = lines.filter((line) => line.startsWith("in.jsonl → out.jsonl"));
    expect(heads.length).toBeGreaterThan(0);
    expect(heads.length).toBeLessThanOrEqual(1 + resizes);
    expect(hasColour(terminal.raw)).toBe(true);
  });

  test("workers of the run log to a file that is named, and never into the picture", async () => {
    await using batch = await open(80, 40, 600, "--workers", "2");
    const terminal = await batch.start({ LOG_LEVEL: "debug" });
    expect(await terminal.run.exit).toBe(1);
    const lines = await terminal.lines();
    expect(bars(lines)).toHaveLength(1);
    expect(lines.join("\n")).toContain("40 of 40 rows");
    expect(lines.join("\n")).toMatch(/FAILED {2}invalid_request \d+\nrow-\d+ +invalid_request: /);
    expect(lines.join("\n")).toMatch(/\d+ of 40 rows succeeded/);
    expect(lines.join("\n")).toContain("the other workers log to out.workers.log");
    const log = readFileSync(batch.site.path("out.workers.log"), "utf8");
    // On a busy machine the run may end before its second worker has begun.
    expect((log.match(/worker is running/g) ?? []).length).toBeLessThanOrEqual(1);
    expect(lines.join("\n")).not.toContain("worker is running");
  });

  test("its own log lines stand above the picture, and NO_COLOR takes the colours away", async () => {
    await using batch = await open(80, 20, 600);
    const terminal = await batch.start({ LOG_LEVEL: "debug", NO_COLOR: "1" });
    expect(await terminal.run.exit).toBe(1);
    const lines = await terminal.lines();
    expect(bars(lines)).toHaveLength(1);
    const serving = lines.findIndex((line) => line.includes("DEBUG: "));
    expect(serving).toBeGreaterThanOrEqual(0);
    expect(lines.findIndex((line) => line.startsWith("in.jsonl"))).toBeGreaterThan(serving);
    expect(hasColour(terminal.raw)).toBe(false);
  });

  test("Ctrl-C says what happens, within the picture", async () => {
    await using batch = await open(80, 300, 600);
    const terminal = await batch.start();
    await waitFor("rows", async () => /[1-9]\d* of 300 rows/.test((await terminal.lines()).join("\n")));
    terminal.type("\u0003");
    expect(await terminal.run.exit).toBe(130);
    const shown = (await terminal.lines()).join("\n");
    expect(bars(shown.split("\n"))).toHaveLength(1);
    expect(shown).toMatch(/interrupted · \d+ s/);
    expect(shown).toContain("resume with: ");
  });

  test("a batch that waits says for what", async () => {
    await using batch = await open(80, 3, 600, "--workers", "0");
    const terminal = await batch.start();
    await waitFor("the reason", async () =>
      (await terminal.lines()).join("\n").includes('waits for a worker with provider entry "simulator"'),
    );
    expect((await terminal.lines()).join("\n")).toMatch(/waiting · \d+ s/);
    terminal.type("\u0003");
    expect(await terminal.run.exit).toBe(130);
  });

  test("a dumb terminal gets plain lines", async () => {
    await using batch = await open(80, 20, 600);
    const terminal = await batch.start({ TERM: "dumb" });
    expect(await terminal.run.exit).toBe(1);
    expect(terminal.raw).not.toContain(ESCAPE);
    expect(terminal.raw).toMatch(/20\/20 rows done · \d+ failed \(invalid_request \d+\)/);
  });
});

test("elsewhere it is a line every few seconds, and the workers' log is named once", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({ rpm: 600 });
  site.write("in.jsonl", site.rows(20));
  const { code, stderr } = await site.run(...site.batch("--workers", "2"));
  expect(code).toBe(0);
  expect(stderr.match(/out\.workers\.log/g)).toHaveLength(1);
  expect(stderr).toMatch(/20\/20 rows done · 0 failed · [\d.]+ rows\/s · done/);
  expect(stderr).not.toContain(ESCAPE);
});
