import type { JournaledCall } from "../../src/simulator/journal.ts";
import type { Simulator } from "../../src/simulator/simulator.ts";
import type { Fleet } from "./fleet.ts";
import type { Recorded } from "./recorded.ts";

/** Within this time a process that was stopped has made the call that it was about to make. */
const LATE_MS = 2000;

export interface Calls {
  calls: number;
  /** Calls that were made again. */
  repeated: number;
  /** Calls that were made again though the answer had been seen in Redis, or in the batch's file. */
  paidAgain: string[];
}

const nameOf = ({ lastUserText }: JournaledCall) => lastUserText.split("\n")[0] ?? "";

/** Names what was asked and never seen recorded: of that nothing is known. */
export function unseen({ journal }: Simulator, { seenAt }: Recorded): string[] {
  const names = new Set(journal.entries().map(nameOf));
  return [...names].filter((name) => !seenAt.has(name)).map((name) => `${name}: its record was not seen`);
}

/** Counts the calls that were made again, and tells those that were made after their answer was recorded. */
export function countCalls({ journal }: Simulator, { seenAt }: Recorded, { resumedAt }: Fleet): Calls {
  const entries = journal.entries().filter(({ fault, status }) => fault === null && status !== 429);
  const asked = new Set(entries.map((entry) => `${nameOf(entry)} ${entry.turn}`));
  const paidAgain = entries.flatMap((entry) => {
    const { at } = entry;
    const name = nameOf(entry);
    const seen = seenAt.get(name) ?? Number.POSITIVE_INFINITY;
    // Who stood still between its look for a record and its call has not seen what others did meanwhile.
    const isLate = resumedAt.some((resumed) => resumed > seen && at >= resumed && at < resumed + LATE_MS);
    // Records have whole ms.
    return Math.floor(at) > seen && !isLate ? [`${name}: ${timesOf(entries, name, seen)}`] : [];
  });
  return { calls: entries.length, repeated: entries.length - asked.size, paidAgain };
}

/** Tells when the calls of a question began and ended, in ms before and after its answer was seen. */
function timesOf(entries: readonly JournaledCall[], name: string, seen: number): string {
  const around = (time: number | null) => Math.round((time ?? Number.NaN) - seen);
  const own = entries.filter((entry) => nameOf(entry) === name);
  return JSON.stringify(
    own.map(({ at, finishedAt, status, lane, aborted }) => ({
      ...{ at: around(at), end: around(finishedAt) },
      ...{ status, lane, aborted },
    })),
  );
}
