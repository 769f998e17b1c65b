import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

export interface CliRun {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** The exit code, or the signal that ended it. */
  exit: Promise<number | NodeJS.Signals>;
}

/** Starts `gluellm …` as a process of its own, with nothing of this shell's environment but PATH and HOME. */
export function startCli(args: readonly string[], env: Record<string, string>, cwd: string): CliRun {
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], { cwd, env: { PATH, HOME, ...env }, stdio: "pipe" });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  const exit = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  return { child, stdout: () => output.stdout, stderr: () => output.stderr, exit };
}

/** Runs `gluellm …` to its end. */
export async function runCli(args: readonly string[], env: Record<string, string>, cwd: string) {
  const run = startCli(args, env, cwd);
  run.child.stdin?.end();
  return { code: await run.exit, stdout: run.stdout(), stderr: run.stderr() };
}
