import { spawn } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConfigurationError } from "../shared/errors.ts";
import type { SupervisorOrder, SupervisorReport } from "./supervisor.ts";

const LOG_TAIL_LINES = 8;
const MIN_FREE_BYTES = 1024 * 1024;

/**
 * Starts a supervisor that outlives this process. Resolves with "ready" when the server answers, with "again" when
 * somebody else was quicker.
 * @throws ConfigurationError (`redis_start_failed`) with the end of the server's log.
 */
export async function startSupervisor(order: SupervisorOrder, timeoutMs: number): Promise<"ready" | "again"> {
  const { logPath, redisDir } = order.folder;
  const log = openSync(logPath, "a", 0o600);
  const logStart = fstatSync(log).size;
  const child = spawn(process.execPath, [supervisorProgram(), JSON.stringify(order)], {
    cwd: redisDir,
    detached: true,
    // None of this process's environment: it holds keys, and the supervisor outlives it.
    env: {},
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  let timer: NodeJS.Timeout | undefined;
  const report = await new Promise<SupervisorReport>((resolve) => {
    const fail = (reason: string) => resolve({ state: "failed", reason });
    timer = setTimeout(fail, timeoutMs, `it was not ready after ${Math.round(timeoutMs / 1000)} s`);
    child.once("message", (message) => resolve(message as SupervisorReport));
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`its supervisor ended (${signal ?? `code ${code}`})`));
  });
  clearTimeout(timer);
  if (child.connected) child.disconnect();
  child.unref();
  if (report.state !== "failed") return report.state;
  throw new ConfigurationError(
    `Redis could not be started in ${redisDir}: ${report.reason}${fullDisk(redisDir)}${logTail(logPath, logStart)}`,
    `the whole log is ${logPath}`,
    "redis_start_failed",
  );
}

/** Returns the words for a full disk, on which the log cannot say why. */
function fullDisk(folder: string): string {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize < MIN_FREE_BYTES ? "; the disk is full" : "";
}

/** Returns the last lines that were written after byte `start`. */
function logTail(path: string, start: number): string {
  const lines = readFileSync(path).subarray(start).toString("utf8").trimEnd().split("\n");
  const tail = lines.slice(-LOG_TAIL_LINES).filter(Boolean);
  return tail.length > 0 ? `\n  ${tail.join("\n  ")}` : "";
}

/**
 * Returns the file of the supervisor's program: the sources run as they are, and the published package holds JavaScript. A
 * bundle has no such file; then that of the package is taken, where the bundle finds it.
 * @throws ConfigurationError `supervisor_missing`
 */
function supervisorProgram(): string {
  // Absent in a bundle that is a CommonJS module.
  const own: string = import.meta.url ?? pathToFileURL(process.argv[1] ?? process.cwd()).href;
  const beside = fileURLToPath(new URL(own.endsWith(".ts") ? "./supervisor.ts" : "./supervisor.js", own));
  if (existsSync(beside)) return beside;
  try {
    const root = dirname(createRequire(own).resolve("gluellm/package.json"));
    return join(root, "dist/src/embedded-redis/supervisor.js");
  } catch {
    throw new ConfigurationError(
      "the embedded Redis cannot be started from this bundle: its supervisor is a program of its own",
      "keep the package gluellm in node_modules beside the bundle, or set GLUELLM_REDIS_URL",
      "supervisor_missing",
    );
  }
}
