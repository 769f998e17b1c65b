import { join } from "node:path";
import { runProcess, type StartedProcess, startNode } from "./processes.ts";

export const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

/** Starts `gluellm …` as a process of its own. */
export function startCli(args: readonly string[], env: Record<string, string>, cwd: string): StartedProcess {
  return startNode([MAIN, ...args], { env, cwd });
}

/** Runs `gluellm …` to its end. */
export function runCli(args: readonly string[], env: Record<string, string>, cwd: string) {
  return runProcess(process.execPath, [MAIN, ...args], { env, cwd });
}
