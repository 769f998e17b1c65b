import { fromErrorRecord } from "../../shared/error-record.ts";
import { PROFILES } from "../../shared/profiles.ts";
import { readDurations } from "../../store/lane-durations.ts";
import { readLearnedLimits } from "../../store/learned-limits.ts";
import type { Store } from "../../store/store.ts";
import type { BatchContext, LanedBatchOptions } from "../batch-options.ts";
import { BatchRun } from "../batch-run.ts";
import { LaneOutlook } from "../lanes/lane-outlook.ts";
import { type BatchQuote, makeQuote } from "./quote.ts";
import { keepQuote, quoteOutputPath, readQuote } from "./quote-file.ts";

/** Rows of a sample, unless it says how many. */
export const SAMPLE_ROWS = 30;

/** Options of a quote: those of the batch, and of the sample. */
export interface QuoteOptions
  extends Omit<LanedBatchOptions, "outputPath" | "sample" | "retryFailed" | "strict" | "format"> {
  /**
   * The output of the batch, whose run takes over what the sample brought; default: files beside the input, which the first run of
   * the input with this model takes over.
   */
  outputPath?: string | undefined;
  /** Rows of the sample, which are asked by single calls; default 30. */
  sampleRows?: number | undefined;
  /** Another seed draws other rows; default 1. */
  seed?: number | undefined;
  /** Calls of a model at a time, of all worker processes, by which times are told; default: the most of one process. */
  callsAtATime?: number | undefined;
}

/**
 * Runs a sample of a batch's rows and returns what the whole may cost and take; undefined when it was interrupted. Rows with a
 * result are not asked again.
 * @param begin is told of the run before its rows are sent
 * @throws as `BatchRun.prepare`; the error of an account or a limit that stopped the sample
 */
export async function quoteBatch(
  { sampleRows = SAMPLE_ROWS, seed = 1, callsAtATime, lanes, ...options }: QuoteOptions,
  context: BatchContext,
  begin: (run: BatchRun) => Promise<void> | void = () => {},
): Promise<BatchQuote | undefined> {
  const { settings, openStore } = context;
  const { inputPath, model = settings.defaultModel } = options;
  const outputPath = options.outputPath ?? quoteOutputPath(inputPath, model);
  const sample = { rows: sampleRows, seed };
  const run = await BatchRun.prepare({ ...options, outputPath, sample }, context);
  try {
    await begin(run);
    const { status, error } = await run.report();
    if (status === "failed" && error) throw fromErrorRecord(error);
  } finally {
    await run.close();
  }
  const { samples, latenciesMs: measured, isWhole } = run.sampled();
  if (!isWhole) return undefined;
  const store = await openStore();
  const models = samples.map((one) => one.model);
  const outlook = new LaneOutlook(store, settings, lanes);
  await outlook.learn(models);
  outlook.turn(models, run.progress().missing);
  const latenciesMs = measured.length > 0 ? measured : (readQuote(outputPath)?.latenciesMs ?? []);
  const quote = makeQuote(samples, {
    ...{ settings, latenciesMs, seed },
    callsAtATime: callsAtATime ?? settings.workerConcurrency ?? PROFILES[settings.profile].maxConcurrency,
    learned: await readLearnedLimits(store),
    durations: await durationsOf(
      store,
      models.map(({ key }) => key),
    ),
    by: lanes && { outlook, atMs: lanes.byMs },
  });
  keepQuote(outputPath, { quote, latenciesMs });
  return quote;
}

async function durationsOf(store: Store, keys: readonly string[]): Promise<Map<string, number[]>> {
  const durations = new Map<string, number[]>();
  for (const key of keys) durations.set(key, await readDurations(store, key));
  return durations;
}
