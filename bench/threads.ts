import { readdirSync, readFileSync } from "node:fs";

/** Returns the CPU time that the threads of a process have had so far, in ms; Linux counts it in nanoseconds. */
export function threadsMsOf(pid: number | undefined): number {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).reduce((sum, thread) => sum + runMs(`${folder}/${thread}/schedstat`), 0);
}

function runMs(path: string): number {
  return Number(readFileSync(path, "utf8").split(" ")[0]) / 1e6;
}

/** Returns the most memory that a process has held, in bytes; 0 when it has ended. */
export function peakRssBytes(pid: number | undefined): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
