import { saveBatch } from "../store/batch.ts";
import type { Store } from "../store/store.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { Tally } from "./tally.ts";

/** Writes where the batch stands into its record. */
export async function saveCounts(
  { store, index, tally }: { store: Store; index: DiskIndex; tally: Tally },
  id: string,
): Promise<void> {
  const { total, succeeded, failed } = index.counts();
  const { prompt, completion, cached, costUsd, unpriced, cacheHits } = tally.use;
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
  });
}
