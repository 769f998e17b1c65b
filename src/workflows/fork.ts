import { InputError } from "../shared/errors.ts";
import { encode } from "../shared/serialize.ts";
import type { RunJournalEntry } from "../store/run-journal.ts";
import { signalAnswers } from "./signal-answers.ts";

/** Options of a fork. */
export interface ForkOptions {
  /** The first step to run again: `draft`, `left/draft#2`. What was asked for before it is taken as it ended. */
  fromStep: string;
  /** The changes to what the run had; default: none. */
  changes?: {
    /** Another input; steps before `fromStep` must not depend on it. */
    input?: unknown;
    /** The results that earlier steps are to have brought instead, by step. */
    results?: Readonly<Record<string, unknown>>;
  };
}

/**
 * Returns the part of a journal that a fork begins with.
 * @throws InputError when the run has no such step, or `results` has one that does not come before it or had not ended.
 */
export function forkEntries(
  journal: readonly RunJournalEntry[],
  { fromStep, changes: { results = {} } = {} }: ForkOptions,
): RunJournalEntry[] {
  const place = journal.findIndex((entry) => "step" in entry && entry.step === fromStep);
  if (place < 0) throw new InputError(`the run has no step "${fromStep}"`, "its steps are listed by steps()");
  const before = journal.slice(0, place);
  const asked = new Set(before.flatMap((entry) => ("step" in entry ? entry.step : [])));
  const answers = signalAnswers(journal);
  const waits = new Map([...answers].map(([step, signal]) => [signal, step]));
  // What is asked anew must be answered anew: no earlier signal of that name may do it.
  const askedAnew = new Set(
    journal.flatMap((entry) =>
      entry.type === "asked" && entry.kind === "signal" && !asked.has(entry.step) ? entry.subject : [],
    ),
  );
  const ended = new Set(journal.flatMap((entry) => (entry.type === "ended" ? entry.step : [])));
  for (const step of Object.keys(results)) {
    if (!asked.has(step)) {
      throw new InputError(`changes.results: step "${step}" does not come before "${fromStep}"`);
    }
    if (!ended.has(step) && !answers.has(step)) {
      throw new InputError(`changes.results: step "${step}" had not ended`);
    }
  }
  return journal.flatMap((entry, index) => {
    if (entry.type === "cancelled") return [];
    const endOf = entry.type === "ended" ? entry.step : entry.type === "signal" && waits.get(entry);
    // Steps that ran side by side with the first one to run again may have ended after it was asked for.
    if (index >= place && !(endOf && asked.has(endOf))) return [];
    if (entry.type === "signal" && askedAnew.has(entry.name) && !(endOf && asked.has(endOf))) return [];
    // What has not ended is asked for anew: its job belongs to the other run.
    if (entry.type === "asked" && entry.kind !== "signal" && !ended.has(entry.step)) return [];
    return [endOf ? takenOver(entry, endOf, results) : entry];
  });
}

/** An entry that ended a step, with what the step is to have brought. */
function takenOver(
  entry: RunJournalEntry,
  step: string,
  results: Readonly<Record<string, unknown>>,
): RunJournalEntry {
  const isReplaced = Object.hasOwn(results, step);
  const { json: value, isTyped } = encode(results[step] ?? null, `changes.results: ${step}`);
  const typed = isTyped ? { typed: true as const } : {};
  const { at } = entry;
  // Still a signal: as another entry it would leave its wait to the next signal of its name.
  if (entry.type === "signal")
    return isReplaced ? { type: "signal", name: entry.name, at, data: value, ...typed } : entry;
  if (entry.type !== "ended") return entry;
  return isReplaced ? { type: "ended", step, at, value, ...typed } : { ...entry, taken: true };
}
