import { readdirSync, readFileSync } from "node:fs";

/** Returns the CPU time that the threads of a process have had so far, in ms; Linux counts it in nanoseconds. */
export function threadsMsOf(pid: number | undefined): number {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).reduce((sum, thread) => sum + runMs(`${folder}/${thread}/schedstat`), 0);
}

function runMs(path: string): number {
  return Number(readFileSync(path, "utf8").split(" ")[0]) / 1e6;
}
