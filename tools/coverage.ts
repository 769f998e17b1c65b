import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseSync } from "rolldown/experimental";

/*
 * `npm run test:coverage [-- what vitest takes]` runs tests and says which lines of src/ they ran, those that processes of the tests
 * ran included. `--add` adds to what earlier runs covered, so that the whole can be run in pieces; `--report` only tells it.
 *
 * Every process writes V8's counts when it ends (NODE_V8_COVERAGE). All of them load the sources as they are, without a bundle or a
 * transformation, so that an offset of V8 is one of the source. A line counts when a statement begins on it. What a process ran that
 * was killed by SIGKILL is not known.
 */

const ROOT = join(import.meta.dirname, "..");
const CACHE = join(ROOT, "node_modules/.cache/coverage");
const RAW = join(CACHE, "raw");
const COVERED = join(CACHE, "covered.json");
/** What is told with its lines. */
const SHOWN_BELOW = 0.9;

interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface Script {
  url: string;
  functions: { ranges: Range[] }[];
}

/** A source with the offset and line of each statement, and the offsets that were run. */
interface Source {
  path: string;
  statements: { offset: number; line: number }[];
  run: Set<number>;
}

const [args, options] = [
  process.argv.slice(2).filter((arg) => arg !== "--add" && arg !== "--report"),
  new Set(process.argv.slice(2)),
];
const sources = new Map(
  globSync("src/**/*.ts", { cwd: ROOT })
    .sort()
    .map((path) => [pathToFileURL(join(ROOT, path)).href, readSource(path)]),
);
if (options.has("--add") || options.has("--report")) recall();
const code = options.has("--report") ? 0 : await runTests();
tell();
process.exitCode = code;

function readSource(path: string): Source {
  const text = readFileSync(join(ROOT, path), "utf8");
  const offsets = new Set<number>();
  collect(parseSync(path, text).program, offsets);
  const statements = [...offsets].map((offset) => ({
    offset,
    line: text.slice(0, offset).split("\n").length,
  }));
  return { path, statements, run: new Set() };
}

/** Adds where statements begin that do something: types, imports, blocks and declarations of functions are passed over. */
function collect(node: unknown, offsets: Set<number>): void {
  if (Array.isArray(node)) for (const one of node) collect(one, offsets);
  if (typeof node !== "object" || node === null || !("type" in node)) return;
  const { type, start } = node as unknown as { type: string; start: number };
  if (type.startsWith("TS") && type !== "TSAsExpression" && type !== "TSNonNullExpression") return;
  if (/(Statement|^VariableDeclaration)$/.test(type) && type !== "BlockStatement") offsets.add(start);
  for (const [key, value] of Object.entries(node)) if (key !== "parent") collect(value, offsets);
}

async function runTests(): Promise<number> {
  rmSync(RAW, { recursive: true, force: true });
  mkdirSync(RAW, { recursive: true });
  const child = spawn(
    process.execPath,
    [
      join(ROOT, "node_modules/vitest/vitest.mjs"),
      ...["run", "--experimental.viteModuleRunner=false", ...args],
    ],
    {
      cwd: ROOT,
      stdio: "inherit",
      env: {
        ...process.env,
        NODE_V8_COVERAGE: RAW,
        GLUELLM_TEST_SOURCES: "1",
        // Functions out of the cache have no counts of their own.
        NODE_DISABLE_COMPILE_CACHE: "1",
      },
    },
  );
  const ended = once(child, "exit");
  // There are thousands of files: they are taken while the tests go on.
  while (child.exitCode === null && child.signalCode === null) {
    await Promise.race([ended, sleep(10_000)]);
    takeRaw();
  }
  writeFileSync(
    COVERED,
    JSON.stringify(Object.fromEntries([...sources.values()].map(({ path, run }) => [path, [...run]]))),
  );
  return child.exitCode ?? 1;
}

function takeRaw(): void {
  for (const name of readdirSync(RAW)) {
    const path = join(RAW, name);
    let scripts: Script[];
    try {
      ({ result: scripts } = JSON.parse(readFileSync(path, "utf8")));
    } catch {
      continue; // it is being written
    }
    for (const script of scripts) count(script);
    rmSync(path);
  }
}

function count({ url, functions }: Script): void {
  const source = sources.get(url);
  if (!source) return;
  const ranges = functions.flatMap(({ ranges: own }) => own);
  // The innermost range around an offset has its count: outer ones come first.
  ranges.sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
  for (const { offset } of source.statements) {
    if (source.run.has(offset)) continue;
    const around = ranges.findLast(
      ({ startOffset, endOffset }) => startOffset <= offset && offset < endOffset,
    );
    if (around && around.count > 0) source.run.add(offset);
  }
}

function recall(): void {
  const covered = JSON.parse(readFileSync(COVERED, "utf8")) as Record<string, number[]>;
  for (const source of sources.values())
    for (const offset of covered[source.path] ?? []) source.run.add(offset);
}

function tell(): void {
  const all = [...sources.values()].map(({ path, statements, run }) => {
    const lines = new Set(statements.map(({ line }) => line));
    const missed = new Set(statements.filter(({ offset }) => !run.has(offset)).map(({ line }) => line));
    return { path, lines: lines.size, missed: [...missed].sort((a, b) => a - b) };
  });
  const files = all.filter(({ lines }) => lines > 0);
  const folders = Map.groupBy(files, ({ path }) => path.split("/").slice(0, 2).join("/"));
  for (const [folder, own] of folders) console.log(`${share(own)}  ${folder}`);
  console.log(`${share(files)}  of the lines of src\n\nbelow ${SHOWN_BELOW * 100} %:`);
  for (const { path, lines, missed } of files)
    if (missed.length > lines * (1 - SHOWN_BELOW)) console.log(`${path}: ${missed.join(" ")}`);
}

function share(files: { lines: number; missed: number[] }[]): string {
  const sum = (of: (file: { lines: number; missed: number[] }) => number) =>
    files.reduce((total, file) => total + of(file), 0);
  const [lines, missed] = [sum((file) => file.lines), sum((file) => file.missed.length)];
  return `${((100 * (lines - missed)) / lines).toFixed(1).padStart(5)} % of ${String(lines).padStart(6)}`;
}
