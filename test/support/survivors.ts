import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/**
 * Processes that belong to a folder: it is in their environment, in their command, or the folder they run in. So are all
 * that a test run starts, the embedded Redis with its empty environment included. Known on Linux only; elsewhere none.
 * @param parent its own children do not count: they are the test runner's, which ends them itself
 */
export function processesOf(folder: string, parent?: number): number[] {
  if (process.platform !== "linux") return [];
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => belongs(pid, folder) && parentOf(pid) !== parent);
}

function parentOf(pid: number): number | undefined {
  const [, parent] =
    /^PPid:\t(\d+)$/m.exec(textOf(() => readFileSync(`/proc/${pid}/status`, "latin1"))) ?? [];
  return parent === undefined ? undefined : Number(parent);
}

function belongs(pid: number, folder: string): boolean {
  const facts = [
    () => readFileSync(`/proc/${pid}/environ`, "latin1"),
    () => readFileSync(`/proc/${pid}/cmdline`, "latin1"),
    () => readlinkSync(`/proc/${pid}/cwd`),
  ];
  return facts.some((read) => textOf(read).includes(folder));
}

/** Nothing of a process that has ended, or that is somebody else's. */
function textOf(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}
