import type { RunnerTask } from "vitest";
import { beforeAll, inject } from "vitest";
import { seededRandom } from "./sample.ts";

const SHARE = 1 / 10;

// Every long test has its own lot, so that each run of the gate proves another part of them. They are left out before the
// file's first test begins: one that ended at once would break the hooks of those that run beside it.
// biome-ignore lint/correctness/noEmptyPattern: the runner demands a pattern
if (inject("isGate")) beforeAll(({}, file) => leaveOut(file.tasks));

function leaveOut(tasks: readonly RunnerTask[]): void {
  for (const task of tasks) {
    if (task.type === "suite") leaveOut(task.tasks);
    else if (task.tags?.includes("long") && seededRandom(task.fullName)() >= SHARE) task.mode = "skip";
  }
}
