import { setTimeout as delay } from "node:timers/promises";
import type { DeadLetter } from "../producers/dead-letters.ts";
import { GlueError } from "../shared/errors.ts";
import type { ReplayOptions, ReplayReport } from "./letter-options.ts";

const MAX_FAILURES = 100;
const PER_SECOND = 50;

export function emptyReport(letters: readonly DeadLetter[]): ReplayReport {
  const rows = letters.reduce((sum, letter) => sum + (letter.rows ?? 0), 0);
  return { matched: letters.length, rows, changed: 0, failed: 0, failures: [], quoteUsd: null, replayed: {} };
}

/** Changes letters one after the other, no more in a second than is allowed, and notes in the report what became of each. */
export async function changeLetters(
  letters: readonly DeadLetter[],
  change: (letter: DeadLetter) => Promise<string | undefined>,
  report: ReplayReport,
  { perSecond = PER_SECOND, signal }: ReplayOptions,
): Promise<void> {
  const startedAt = performance.now();
  for (const [n, letter] of letters.entries()) {
    const waitMs = startedAt + (n * 1000) / perSecond - performance.now();
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => {});
    if (signal?.aborted) return;
    try {
      const id = await change(letter);
      if (id === undefined) continue;
      report.changed += 1;
      report.replayed[letter.id] = id;
    } catch (error) {
      if (!(error instanceof GlueError)) throw error;
      report.failed += 1;
      const { code, message, hint } = error;
      if (report.failures.length < MAX_FAILURES)
        report.failures.push({ id: letter.id, code, message: hint ? `${message}; ${hint}` : message });
    }
  }
}
