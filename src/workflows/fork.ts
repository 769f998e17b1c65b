import { InputError } from "../shared/errors.ts";
import type { JournalEntry } from "../shared/workflow-journal.ts";

export interface ForkOptions {
  /** The first step to run again: `draft`, `left/draft#2`. What was asked for before it is taken as it ended. */
  fromStep: string;
  changes?: {
    /** Another input; steps before `fromStep` must not depend on it. */
    input?: unknown;
    /** What earlier steps are to have brought instead, by step. */
    results?: Readonly<Record<string, unknown>>;
  };
}

/** The part of a journal that a fork begins with. @throws InputError when the run has no such step. */
export function forkEntries(
  journal: readonly JournalEntry[],
  { fromStep, changes: { results = {} } = {} }: ForkOptions,
): JournalEntry[] {
  const place = journal.findIndex((entry) => "step" in entry && entry.step === fromStep);
  if (place < 0) throw new InputError(`the run has no step "${fromStep}"`, "its steps are listed by steps()");
  const before = journal.slice(0, place);
  const asked = new Set(before.flatMap((entry) => ("step" in entry ? entry.step : [])));
  const ended = new Set(journal.flatMap((entry) => (entry.type === "ended" ? entry.step : [])));
  const unknown = Object.keys(results).find((step) => !asked.has(step));
  if (unknown !== undefined) {
    throw new InputError(`changes.results: step "${unknown}" does not come before "${fromStep}"`);
  }
  return journal.flatMap((entry, index) => {
    if (entry.type === "cancelled") return [];
    // Steps that ran side by side with the first one to run again may have ended after it was asked for.
    if (index >= place && !(entry.type === "ended" && asked.has(entry.step))) return [];
    // What has not ended is asked for anew: its job belongs to the other run.
    if (entry.type === "asked" && entry.kind !== "signal" && !ended.has(entry.step)) return [];
    if (entry.type === "ended" && entry.step in results) {
      const { step, at } = entry;
      return [{ type: "ended", step, at, value: results[step] } satisfies JournalEntry];
    }
    return [entry];
  });
}
