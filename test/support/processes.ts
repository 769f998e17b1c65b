import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { inBundle } from "./bundled.ts";

const COVERAGE_MS = 15_000;

/** Running processes of this test file. */
const running = new Set<ChildProcess>();

export interface ProcessOptions {
  /** Besides what finds programs, temporary files and compiled code. */
  env?: Record<string, string>;
  cwd?: string;
  /** In a process group of its own, as from a terminal. */
  detached?: boolean;
}

export interface StartedProcess {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** The exit code, or the signal that ended it. */
  exit: Promise<number | NodeJS.Signals>;
}

/**
 * Starts a program with nothing of this shell's environment but what `processEnv` names. Every process of a test starts
 * here: it ends with the test file at the latest. In place of sources Node.js gets their bundle.
 */
export function startProcess(
  command: string,
  args: readonly string[],
  { env, ...options }: ProcessOptions = {},
): StartedProcess {
  const words = command === process.execPath ? inBundle(args, options.cwd) : args;
  const child = spawn(command, words, { ...options, env: processEnv(env), stdio: "pipe" });
  running.add(child);
  child.once("exit", () => running.delete(child));
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  const exit = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  return { child, stdout: () => output.stdout, stderr: () => output.stderr, exit };
}

/** Starts a program of this Node.js. */
export function startNode(args: readonly string[], options?: ProcessOptions): StartedProcess {
  return startProcess(process.execPath, args, options);
}

/** Runs a program to its end. */
export async function runProcess(
  command: string,
  args: readonly string[],
  { input = "", ...options }: ProcessOptions & { input?: string } = {},
) {
  const run = startProcess(command, args, options);
  // It may end before it has read anything.
  run.child.stdin?.on("error", () => {}).end(input);
  return { code: await run.exit, stdout: run.stdout(), stderr: run.stderr() };
}

/** Runs a program to its good end; returns what it printed. */
export async function outputOf(command: string, args: readonly string[], options?: ProcessOptions) {
  const { code, stdout, stderr } = await runProcess(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ended with ${code}\n${stderr}`);
  return stdout;
}

/** The environment of a test's process. By its folder for temporary files the run's reaper knows it. */
function processEnv(added: Record<string, string> = {}): Record<string, string> {
  const { PATH = "", HOME = "", TMPDIR = "", NODE_COMPILE_CACHE = "" } = process.env;
  return { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE, ...added };
}

/** Ends what this test file started and did not end. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...running].map(endProcess));
}

/** Kills a process that a test needs no more. Where coverage is measured it gets time to write its own. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (!running.has(child)) return;
  const end = once(child, "exit");
  if (process.env.NODE_V8_COVERAGE) {
    child.kill();
    await Promise.race([end, delay(COVERAGE_MS)]);
  }
  child.kill("SIGKILL");
  await end;
}
