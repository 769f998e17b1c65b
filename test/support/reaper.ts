/**
 * Waits until its standard input closes, which is when the test run ends, in whatever way; then ends the processes that
 * the run has left, removes its folder and prints how many there were: `reaper.ts <folder>`.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { processesOf } from "./survivors.ts";

const [folder = ""] = process.argv.slice(2);
const runner = process.ppid;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
await once(process.stdin.resume(), "end");

const ended = new Set<number>();
// A supervisor starts its Redis again, and a dying process may start another one: until nothing is left.
for (let pids = left(); pids.length > 0; pids = left()) {
  for (const pid of pids) {
    ended.add(pid);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
  await delay(50);
}
for (const disk of mountedBelow(folder)) spawnSync("umount", ["--lazy", disk]);
rmSync(folder, { recursive: true, force: true });
console.log(ended.size);

function left(): number[] {
  return processesOf(folder, runner).filter((pid) => pid !== process.pid);
}

/** Disks of a test's own, the innermost first: a folder with one in it cannot be removed. */
function mountedBelow(path: string): string[] {
  const mounts = process.platform === "linux" ? readFileSync("/proc/self/mounts", "utf8").split("\n") : [];
  const places = mounts.map((line) => line.split(" ")[1] ?? "");
  return places.filter((place) => place.startsWith(`${path}/`)).reverse();
}
