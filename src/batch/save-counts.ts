import { saveBatch } from "../store/batch.ts";
import type { Store } from "../store/store.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { Tally } from "./tally.ts";

/** Writes where the batch stands into its record. @param pace of a run that goes on */
export async function saveCounts(
  { store, index, tally }: { store: Store; index: DiskIndex; tally: Tally },
  id: string,
  pace = { inFlight: 0, rowsPerSecond: 0 },
): Promise<void> {
  const { total, succeeded, failed } = index.counts();
  const { prompt, completion, cached, costUsd, unpriced, cacheHits, batchRows, flexRows } = tally.use;
  await saveBatch(store, {
    id,
    total,
    succeeded,
    failed,
    promptTokens: prompt,
    completionTokens: completion,
    cachedTokens: cached,
    costUsd: Number(costUsd.toFixed(12)),
    unpriced,
    cacheHits,
    inFlight: pace.inFlight,
    rowsPerSecond: Number(pace.rowsPerSecond.toFixed(3)),
    lanes: tally.lanes.length > 0 ? JSON.stringify(tally.lanes) : "",
    batchRows,
    flexRows,
    savedUsd: tally.savedUsd,
    failures: JSON.stringify(tally.causes.all()),
  });
}
