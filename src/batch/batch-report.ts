import type { ErrorRecord } from "../shared/error-record.ts";
import type { OutputFiles } from "./output-paths.ts";
import type { QuoteCheck } from "./quote/quote-file.ts";
import type { Tally } from "./tally.ts";

/** What a batch's rows came to. Times in milliseconds; `durationMs` and `latencyMs` are of this run, the rest of all. */
export interface BatchFigures {
  total: number;
  succeeded: number;
  failed: number;
  /** Attempts after the first. */
  retries: number;
  /** 429 and 529 answers. */
  rateLimited: number;
  /** Succeeded rows whose answer was in the cache already: no call, no tokens, no cost. */
  cacheHits: number;
  /** `cached` prompt tokens were read from a cache; they are part of `prompt`. */
  tokens: {
    prompt: number;
    completion: number;
    total: number;
    cached: number;
    /** Some of it is a guess: a provider did not report what it used. */
    estimated?: true;
  };
  /** USD of all calls that were paid, of failed rows too; null when the cost of one of them is not known. */
  costUsd: number | null;
  /** Succeeded rows that were bought at a lower price, in provider batches and in the tier flex; absent without such rows. */
  rowsByLane?: { batch: number; flex: number };
  /** What these would have cost more online, in USD. */
  savedUsd?: number;
  durationMs: number;
  /** Of this run's successful online calls; absent when it made none. */
  latencyMs?: { p50: number; p95: number; p99: number };
}

/** How a run of a batch ended. */
export interface BatchReport extends BatchFigures {
  /** The batch's id. */
  id: string;
  /**
   * `completed`: every row has a result. `interrupted`: `stop` was called; `cancelled`: somebody cancelled the batch;
   * `failed`: the account or the cost limit stopped it. After these three, running it again sends what is missing.
   */
  status: "completed" | "interrupted" | "cancelled" | "failed";
  /** Why it `failed`. */
  error?: ErrorRecord;
  /** What the provider said, when its refusal was the reason. */
  providerMessage?: string;
  /** How far the quote was off that was made before; absent without one, and until all rows have results. */
  quote?: QuoteCheck;
  files: OutputFiles;
}

/** Returns the figures of a batch from its counts of rows, its sums and its counts of faults. */
export function batchFigures(
  { total, succeeded, failed }: { total: number; succeeded: number; failed: number },
  tally: Tally,
  { retries, rateLimited }: { retries: number; rateLimited: number },
  startedAt: number,
): BatchFigures {
  const latencyMs = tally.latency();
  const { prompt, completion, cached, cacheHits, estimated, batchRows, flexRows } = tally.use;
  return {
    total,
    succeeded,
    failed,
    retries,
    rateLimited,
    cacheHits,
    tokens: {
      ...{ prompt, completion, total: prompt + completion, cached },
      ...(estimated && { estimated: true as const }),
    },
    costUsd: tally.costUsd,
    ...(batchRows + flexRows > 0 && {
      rowsByLane: { batch: batchRows, flex: flexRows },
      savedUsd: tally.savedUsd,
    }),
    durationMs: Date.now() - startedAt,
    ...(latencyMs && { latencyMs }),
  };
}
