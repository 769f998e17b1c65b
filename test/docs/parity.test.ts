import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPage } from "../../tools/doc-blocks.ts";
import { commandFaults } from "../support/told-commands.ts";

/* The checklist of features has each of its ids once, and what it names exists. */

const ROOT = join(import.meta.dirname, "../..");
const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
const IDS = ["A1–A28", "B1–B40", "C1–C38", "C40–C44", "D1–D26", "P1–P14"].flatMap(idsOf);
const STATE = /^(there(;.*)?|part: .+|not yet|left out: .+)$/;

/** Of `A1–A4` the four ids, of `C1` this one. */
function idsOf(range: string): string[] {
  const [first = "", last = first] = range.split("–");
  const from = Number(first.slice(1));
  return Array.from({ length: Number(last.slice(1)) - from + 1 }, (_, n) => `${first[0]}${from + n}`);
}

interface Row {
  id: string;
  cells: string[];
  state: string;
  code: string;
  shownBy: string;
}

const ROWS: Row[] = readPage("docs/internal/parity.md")
  .split("\n")
  .filter((line) => /^\| [A-Z]\d/.test(line))
  .map((line) => {
    const cells = line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim());
    const [id = "", , state = "", code = "", shownBy = ""] = cells;
    return { id, cells, state, code, shownBy };
  });

const quoted = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = ""]) => text);

/** The paths of a row's code: one without a folder is in the folder of the one before it. */
function pathsOf({ code }: Row): string[] {
  let folder = "";
  return quoted(code).map((path) => {
    if (!path.includes("/")) return existsSync(join(ROOT, path)) ? path : `${folder}${path}`;
    folder = path.slice(0, path.lastIndexOf("/") + 1);
    return path;
  });
}

const isCommand = (text: string) => /^(npm|node|gluellm) /.test(text);

test("every id is there once, with its state", () => {
  expect(ROWS.flatMap(({ id }) => idsOf(id)).sort()).toEqual([...IDS].sort());
  expect(ROWS.filter(({ cells, state }) => cells.length !== 5 || !STATE.test(state))).toEqual([]);
});

test("the files of its code exist", () => {
  const faults = ROWS.flatMap((row) =>
    pathsOf(row)
      .filter((path) => !existsSync(join(ROOT, path)))
      .map((path) => `${row.id}: ${path}`),
  );
  expect(faults).toEqual([]);
});

test("what is there in whole or in part has code and a test, and the tests exist", () => {
  const unshown = ROWS.filter(({ state }) => /^(there|part)/.test(state)).filter(
    ({ code, shownBy }) => quoted(code).length === 0 || quoted(shownBy).length === 0,
  );
  expect(unshown).toEqual([]);
  const faults = ROWS.flatMap(({ id, shownBy }) =>
    quoted(shownBy)
      .filter((name) => !isCommand(name))
      .filter((name) => globSync(`test/${name}.{test,chaos}.ts`, { cwd: ROOT }).length === 0)
      .map((name) => `${id}: ${name}`),
  );
  expect(faults).toEqual([]);
});

test("the commands that show it exist", async () => {
  const commands = ROWS.flatMap(({ shownBy }) => quoted(shownBy)).filter(isCommand);
  for (const [, name = ""] of commands.flatMap((command) => [...command.matchAll(/^npm (?:run )?([\w:]+)/g)]))
    expect(scripts).toHaveProperty([name]);
  for (const [, path = ""] of commands.flatMap((command) => [...command.matchAll(/^node (\S+)/g)]))
    expect(existsSync(join(ROOT, path)), path).toBe(true);
  const ours = commands.filter((command) => command.startsWith("gluellm "));
  expect(await commandFaults(ours.map((command) => command.replace("gluellm ", "")))).toEqual([]);
});
