import type { AskedEntry, RunJournalEntry, SignalEntry } from "../store/run-journal.ts";
import { isWithdrawal } from "./withdrawals.ts";

/** The signal that answered each wait, by the wait's step. Per name, first come first served on both sides. */
export function signalAnswers(journal: readonly RunJournalEntry[]): Map<string, SignalEntry> {
  const answers = new Map<string, SignalEntry>();
  const early: SignalEntry[] = [];
  const waits: AskedEntry[] = [];
  for (const entry of journal) {
    if (entry.type === "asked" && entry.kind === "signal") {
      const signal = take(early, ({ name }) => name === entry.subject);
      if (signal) answers.set(entry.step, signal);
      else waits.push(entry);
    }
    if (entry.type === "signal") {
      const wait = take(waits, ({ subject }) => subject === entry.name);
      if (wait) answers.set(wait.step, entry);
      else early.push(entry);
    }
    if (entry.type !== "ended") continue;
    // It gave up: later signals are for others.
    take(waits, ({ step }) => step === entry.step);
    const inVain = isWithdrawal(entry) && answers.get(entry.step);
    if (!inVain) continue;
    answers.delete(entry.step);
    const next = take(waits, ({ subject }) => subject === inVain.name);
    if (next) answers.set(next.step, inVain);
    else early.push(inVain);
  }
  return answers;
}

function take<T>(list: T[], isWanted: (item: T) => boolean): T | undefined {
  const place = list.findIndex(isWanted);
  return place < 0 ? undefined : list.splice(place, 1)[0];
}
