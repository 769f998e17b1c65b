import type { GlueError } from "../shared/errors.ts";
import { isBounded, type RunRecord } from "../store/run-record.ts";
import { type Denied, enterRun, type RunLock } from "../store/run-turn.ts";
import { asWorkflowError } from "./run-errors.ts";
import { inputOf } from "./run-values.ts";
import type { AnyWorkflow } from "./workflow.ts";
import { concurrencyPlace } from "./workflow-limits.ts";

/**
 * `begun`: it may go on. `changed`: it may, and another input may have taken the place of the one that was read. `waits`: it sleeps until
 * its limits let it begin.
 */
export type Entry = "begun" | "changed" | "waits" | Denied | { error: GlueError };

/** Returns whether limits may know the run: by its record, or by what let it begin since that was read. */
export function mayHaveLimits(
  { place, singleton, debounce }: RunRecord,
  workflow: AnyWorkflow | undefined,
): boolean {
  return [place, singleton, debounce, workflow?.concurrency].some((limit) => limit !== undefined);
}

/** Lets a run begin when the limits of its workflow let it; it costs nothing without any, and once it has begun. */
export async function enter(lock: RunLock, run: RunRecord, workflow: AnyWorkflow): Promise<Entry> {
  if (run.begunAt !== undefined || (!workflow.concurrency && run.startAt === undefined)) return "begun";
  let place: { name: string; limit: number } | undefined;
  if (workflow.concurrency) {
    const parsed = workflow.input.safeParse(await inputOf(lock.store, run));
    try {
      // An input that does not fit fails by itself, and needs no place for that.
      if (parsed.success) place = concurrencyPlace(workflow, parsed.data);
    } catch (error) {
      return { error: asWorkflowError(error) };
    }
  }
  const wakeAt = isBounded(run) ? run.deadlineAt : undefined;
  const entry = await enterRun(lock, place, { priority: run.priority, wakeAt });
  return entry === "begun" && run.debounce !== undefined ? "changed" : entry;
}
