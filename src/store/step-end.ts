import type { ResultRecord } from "../shared/records.ts";
import { isBlobRef } from "./blobs.ts";
import { type EndedEntry, notifyRun } from "./run-journal.ts";
import type { RunRecord } from "./run-record.ts";
import type { Store } from "./store.ts";

/* What a run's journal says of steps that ended outside of it: completions and child runs. See `run-journal.ts`. */

/** Returns how a completion of a run ended. A later success of a failed job, by an operator's retry, must not rewrite that. */
export function endOfStep(step: string, { error, tokens, costUsd }: ResultRecord): EndedEntry {
  const { prompt, completion, total, estimated } = tokens;
  const entry: EndedEntry = { type: "ended", step, at: Date.now() };
  if (error) entry.error = error;
  // What never got an answer was free, whatever its model costs.
  if (!error || total > 0 || costUsd !== null)
    Object.assign(entry, {
      tokens: { prompt, completion, total, ...(estimated && { estimated }) },
      costUsd,
    });
  return entry;
}

/** Tells the run that a completion of its has left its record. */
export async function endStep(
  store: Store,
  { runId, step }: { runId: string; step: string },
  record: ResultRecord,
): Promise<void> {
  await notifyRun(store, runId, endOfStep(step, record));
}

/** Returns what an ended child run tells its parent. */
export function endOfChild(run: RunRecord): EndedEntry {
  const { parentStep = "", finishedAt = Date.now(), error, output, unpriced } = run;
  const { promptTokens: prompt, completionTokens: completion } = run;
  const tokens = {
    ...{ prompt, completion, total: prompt + completion },
    ...(run.estimated > 0 && { estimated: true as const }),
  };
  const costUsd = unpriced > 0 && run.costUsd === 0 ? null : run.costUsd;
  const typed = run.outputTyped ? { typed: true as const } : {};
  const result = { ...typed, ...(isBlobRef(output) ? { blob: output } : { value: output }) };
  return { type: "ended", step: parentStep, at: finishedAt, error, tokens, costUsd, ...result };
}
