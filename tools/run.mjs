/**
 * The whole gate, in one command: set-up, then every step under the right Node.js, until the first one fails.
 * Arguments go to the last step, the tests: `npm test -- some-file`. `--no-integration` leaves out all tests that need
 * Redis or other processes.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureSetup, SetupError } from "./setup.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** No steps of the gate: the benchmarks' figures depend on the machine, and coverage takes longer than the gate. */
const PROGRAMS = {
  "test:coverage": ["tools", "coverage.ts"],
  bench: ["bench", "run.ts"],
  "bench:limits": ["bench", "limits", "run.ts"],
  "bench:lanes": ["bench", "lanes", "run.ts"],
  "bench:peers": ["bench", "peers", "run.ts"],
  "bench:workflows": ["bench", "workflows.ts"],
  "bench:history": ["bench", "history.ts"],
  "bench:api": ["bench", "api.ts"],
  "bench:fairness": ["bench", "fairness.ts"],
  "bench:gate": ["bench", "gate.ts"],
  "bench:interactive": ["bench", "interactive.ts"],
  "bench:traces": ["bench", "traces.ts"],
  "bench:observability": ["bench", "observability.ts"],
  soak: ["bench", "soak", "run.ts"],
};
/** Runs of the checks alone, and of tests alone or with other tests: what the runner gets, and its environment. */
const TESTS = {
  lint: { isGate: true, hasTests: false },
  "test:unit": { args: ["--project", "unit"] },
  "test:full": { env: { GLUELLM_TEST_FULL: "1" }, isGate: true },
  "test:encrypted": { args: ["--project", "encrypted"], env: { GLUELLM_TEST_ENCRYPTION: "1" } },
  "test:chaos": { args: [".chaos.ts"], env: { GLUELLM_TEST_FULL: "1" } },
};
const NO_INTEGRATION = "--no-integration";

/** The code of every process of a run is compiled once: that is most of what a short one costs. */
const COMPILED = join(ROOT, "node_modules", ".cache", "node-compile");

/** The type checker is a program in Go: with a sixth more memory it takes a fifth less time. */
const GOGC = "400";

/** Title, package, name of its program, arguments. */
const CHECKS = [
  ["format and lint", "@biomejs/biome", "biome", ["check", "--error-on-warnings"]],
  // One checker: several finish sooner on many cores, but each looks at the types of the packages again.
  ["types", "typescript", "tsc", ["--noEmit", "--checkers", "1"]],
  ["types of the console", "typescript", "tsc", ["-p", "dashboards/console", "--noEmit", "--checkers", "1"]],
  ["unused code", "knip", "knip", []],
];

async function main() {
  const node = await ensureSetup();
  const [command, ...rest] = process.argv.slice(2);
  if (command === "prepack") return build(node);
  if (command in PROGRAMS) return run(node, [join(ROOT, ...PROGRAMS[command]), ...rest]);
  const {
    args = [],
    env = {},
    isGate = false,
    hasTests = true,
  } = campaignOf(command, rest) ?? TESTS[command] ?? { isGate: true };
  Object.assign(process.env, { NODE_COMPILE_CACHE: COMPILED, GOGC, ...env });
  const given = command in TESTS ? rest : process.argv.slice(2);
  const chosen = given.flatMap((arg) => (arg === NO_INTEGRATION ? TESTS["test:unit"].args : [arg]));
  const tests = ["tests", "vitest", "vitest", ["run", ...args, ...chosen]];
  // The type check looks at the code blocks of the documents too.
  if (isGate) await run(node, [join(ROOT, "tools", "doc-blocks.ts")]);
  for (const [title, packageName, program, args] of [
    ...(isGate ? CHECKS : []),
    ...(hasTests ? [tests] : []),
  ]) {
    process.stdout.write(`\n== ${title}: ${program} ${args.join(" ")}\n`);
    const code = await run(node, [programFile(packageName, program), ...args]);
    if (code !== 0) {
      process.stderr.write(`\n== failed: ${title} (exit code ${code})\n`);
      return code;
    }
  }
  return 0;
}

/** Makes `dist`, for `npm pack` and `npm publish`. */
async function build(node) {
  const steps = [
    [programFile("typescript", "tsc"), "-p", "tsconfig.build.json", "--noCheck"],
    [join(ROOT, "tools", "commonjs-types.mjs")],
    [join(ROOT, "tools", "build-console.ts"), "dist/dashboards/console"],
  ];
  for (const step of steps) {
    const code = await run(node, step);
    if (code !== 0) return code;
  }
  return 0;
}

/** `test:chaos -- --deaths N --seed S` is a campaign alone, which adds its rounds to docs/chaos-report.jsonl. */
function campaignOf(command, given) {
  if (command !== "test:chaos" || !given.includes("--deaths")) return undefined;
  const wordAfter = (option) => (given.includes(option) ? given.splice(given.indexOf(option), 2)[1] : "1");
  const env = {
    GLUELLM_TEST_FULL: "1",
    GLUELLM_TEST_DEATHS: wordAfter("--deaths"),
    GLUELLM_TEST_SEED: wordAfter("--seed"),
  };
  return { args: ["chaos/campaign"], env };
}

/** The script behind a program of node_modules/.bin, without depending on how the platform links it there. */
function programFile(packageName, program) {
  const folder = join(ROOT, "node_modules", packageName);
  const { bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return join(folder, typeof bin === "string" ? bin : bin[program]);
}

function run(node, args) {
  const child = spawn(node, args, {
    cwd: ROOT,
    stdio: "inherit",
    // Whatever the steps start as plain "node" is this one too.
    env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ""}` },
  });
  // Ctrl-C reaches the step by itself; other signals are sent to this process only.
  const forward = (signal) => child.kill(signal);
  const ignore = () => {};
  process.on("SIGTERM", forward);
  process.on("SIGINT", ignore);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      process.off("SIGTERM", forward);
      process.off("SIGINT", ignore);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof SetupError ? error.message : error.stack}\n`);
  process.exitCode = error.exitCode ?? 1;
}
