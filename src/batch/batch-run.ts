import { setTimeout as delay } from "node:timers/promises";
import { requirePrices } from "../producers/priced-models.ts";
import { costUsd } from "../shared/cost.ts";
import { GlueError, InputError } from "../shared/errors.ts";
import { guardrailNames } from "../shared/guardrail.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { speaksForm } from "../shared/providers.ts";
import type { LaneStatus } from "../shared/records.ts";
import { readBatch } from "../store/batch.ts";
import { Lease } from "../store/batch-lease.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { BatchEnd } from "./batch-end.ts";
import type { BatchContext, BatchProgress, LanedBatchOptions } from "./batch-options.ts";
import { type BatchReport, batchFigures } from "./batch-report.ts";
import type { RowCounts } from "./index-row.ts";
import { adoptPartial, type OutputFiles, outputFiles } from "./output-paths.ts";
import { readBatchId } from "./partial-header.ts";
import { type PreparedBatch, prepareBatch } from "./prepare-batch.ts";
import { adoptQuote, checkQuote } from "./quote/quote-file.ts";
import { drawSample, type ModelSample, readSample } from "./quote/sample.ts";
import { calledModels, modelsOf, rowModels } from "./row-models.ts";
import { RowWire } from "./row-wire.ts";
import { sendBatch } from "./send-batch.ts";
import { type RowFailure, Tally } from "./tally.ts";

export { OUTPUT_FORMATS } from "./answer-forms.ts";
export type { BatchOptions, BatchProgress, LanedBatchOptions } from "./batch-options.ts";
export type { BatchReport } from "./batch-report.ts";
export { INPUT_FORMATS } from "./input-form.ts";
export { isDanglingLink } from "./output-paths.ts";
export type { RowFailure } from "./tally.ts";

const STATUS_AT_END: Record<BatchEnd["kind"], BatchReport["status"]> = {
  finished: "completed",
  interrupted: "interrupted",
  cancelled: "cancelled",
  stopped: "failed",
  faulted: "failed",
};

/** One run of a batch in this process: `prepare`, `start`, `follow`, `report`. A run after it sends what is missing. */
export class BatchRun {
  /** The batch's id, the same in all its runs. */
  readonly id: string;
  /** The models that its rows name. */
  readonly models: readonly ModelRef[];
  readonly files: OutputFiles;
  /** Every row has its result already: nothing is to be sent. */
  readonly isComplete: boolean;
  readonly startedAt = Date.now();
  readonly #batch: PreparedBatch;
  readonly #tally: Tally;
  readonly #options: LanedBatchOptions;
  readonly #context: BatchContext;
  readonly #stop = new AbortController();
  /** The ids of the rows that a run of a sample sends. */
  readonly #drawn: readonly string[] | undefined;
  #samples: ModelSample[] = [];
  #ended: Promise<BatchReport> | undefined;

  private constructor(batch: PreparedBatch, options: LanedBatchOptions, context: BatchContext) {
    this.id = batch.output.batchId;
    this.models = batch.models;
    this.files = outputFiles(options.outputPath);
    this.isComplete = batch.output.complete;
    this.#batch = batch;
    this.#tally = new Tally(batch.output.use);
    this.#options = options;
    this.#context = context;
    this.#drawn = options.sample && drawSample(batch.index, options.sample);
  }

  /**
   * Checks the whole input and finds the results of earlier runs; sends nothing.
   * @throws InputError for the input, the output, or a batch that another run holds; ConfigurationError for an unknown
   * model, a missing key, or a cost limit over models without a price.
   */
  static async prepare(options: LanedBatchOptions, context: BatchContext): Promise<BatchRun> {
    const { settings, keyNeeded } = context;
    const defaultModel = options.model ?? settings.defaultModel;
    const resolve = rowModels({ settings, keyNeeded, defaultModel });
    const wire = new RowWire(settings, options);
    adoptPartial(options.outputPath);
    if (!context.hosted && !options.sample) adoptQuote(options.inputPath, defaultModel, options.outputPath);
    let isPrepared = false;
    // The models of what is scanned before are looked at together.
    const priced = (model: ModelRef) => {
      if (isPrepared && options.maxCostUsd !== undefined)
        requirePrices(settings, calledModels(settings, [model]), context.costLimitName ?? "maxCostUsd");
      return model;
    };
    const knownId = readBatchId(options.outputPath);
    try {
      const batch = await prepareBatch({
        ...options,
        model: defaultModel,
        scansWhole: options.sample !== undefined,
        batchId: context.hosted?.id,
        keepResults: context.hosted?.keepResults,
        ...(context.hosted?.openInput && { openInput: context.hosted.openInput }),
        lines: context.hosted?.lines,
        resolveModel: (name, vendor) => priced(wire.check(resolve(name, vendor))),
        wire: wire.said,
        speaks: (model, form) =>
          calledModels(settings, [model]).every((each) =>
            speaksForm(settings.providers[each.entry], each.model, form),
          ),
        // Which deployment answered a row of an earlier run is not known; they are models of one kind.
        costOf: (model, use) => costUsd(settings.prices, modelsOf(settings, model).model, use),
      });
      const run = new BatchRun(batch, options, context);
      await run.#checkPrices();
      isPrepared = true;
      return run;
    } catch (error) {
      if (knownId && !context.hosted && error instanceof GlueError && error.code === "output_in_use") {
        // Somebody on this machine has the files: the lease knows who.
        await (await Lease.acquire(await context.openStore(), knownId)).release();
      }
      throw error;
    }
  }

  async #checkPrices(): Promise<void> {
    if (this.#options.maxCostUsd === undefined || this.isComplete) return;
    const { settings, costLimitName = "maxCostUsd" } = this.#context;
    try {
      requirePrices(settings, this.calledModels, costLimitName);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** The models that are called for them: of a name of deployments, all. */
  get calledModels(): ModelRef[] {
    return calledModels(this.#context.settings, this.models);
  }

  /** Sends the missing rows in the background; `report` says how that ends. A second call does nothing. */
  start(): void {
    this.#ended ??= this.#run();
    // Whoever asks for the report hears of it.
    this.#ended.catch(() => {});
  }

  /** Returns where the run stands now. */
  progress(): BatchProgress {
    const { total, succeeded, failed, missing } = this.#batch.index.counts();
    const { isComplete: isCounted } = this.#batch.scan;
    return { total, succeeded, failed, missing, isCounted, costUsd: this.#tally.costUsd };
  }

  /** Returns where the rows of each model stand, by `entry:model`, and what failed in this run. */
  details(): {
    models: ReadonlyMap<string, RowCounts>;
    failures: readonly RowFailure[];
    failureCounts: ReadonlyMap<string, number>;
    /** The provider batches that have rows now. */
    lanes: readonly LaneStatus[];
    /** Rows that were bought at a lower price, and what that saved in USD. */
    bought: { batch: number; flex: number; savedUsd: number };
  } {
    const { models, malformed } = this.#batch.index.counts();
    const { failures, failureCounts } = this.#tally;
    const counts = new Map(failureCounts);
    if (malformed > 0) counts.set("malformed", malformed);
    return { models, failures, failureCounts: counts, lanes: this.#tally.lanes, bought: this.#tally.bought };
  }

  /** Yields the progress now, then every `everyMs` (default 500) while it runs, and once more at its end. */
  async *follow({ everyMs = 500 }: { everyMs?: number } = {}): AsyncGenerator<BatchProgress> {
    let isOver = this.#ended === undefined;
    const over = this.#ended?.finally(() => {
      isOver = true;
    });
    yield this.progress();
    while (!isOver) {
      await Promise.race([over, delay(everyMs)]);
      yield this.progress();
    }
  }

  /** Waits for the end of the run, which it starts when nobody has. @throws what ended it, other than its account. */
  async report(): Promise<BatchReport> {
    this.start();
    return await (this.#ended as Promise<BatchReport>);
  }

  /** Of a run of a sample that has ended: what its rows came to, and how long their calls took, as far as this run made them. */
  sampled(): { samples: readonly ModelSample[]; latenciesMs: number[]; isWhole: boolean } {
    const drawn = this.#drawn?.length ?? 0;
    const answered = this.#samples.reduce((sum, { sample }) => sum + sample.length, 0);
    return { samples: this.#samples, latenciesMs: this.#tally.latencies(drawn), isWhole: answered === drawn };
  }

  /** Withdraws waiting rows and lets calls in flight finish; `report` resolves then. */
  stop(): void {
    this.#stop.abort();
  }

  /** Frees the files of a run that was not started. */
  async close(): Promise<void> {
    await this.#batch.close();
  }

  async #run(): Promise<BatchReport> {
    try {
      if (this.isComplete) return this.#report({ kind: "finished" }, { retries: 0, rateLimited: 0 });
      const store = await this.#context.openStore();
      const end = await this.#send(store);
      if (end.kind === "faulted") throw this.#laterFault(end.error);
      const record = await readBatch(store, this.id);
      return this.#report(end, { retries: record?.retries ?? 0, rateLimited: record?.rateLimited ?? 0 });
    } finally {
      if (this.#drawn) this.#samples = readSample(this.#batch.index, this.#drawn);
      await this.close();
    }
  }

  #send(store: ConnectedStore): Promise<BatchEnd> {
    const { settings, logger, owner, hosted } = this.#context;
    const { maxCostUsd, cache, timeoutMs, lanes, onUnknown, guardrails } = this.#options;
    const { signal } = this.#stop;
    const [batch, tally] = [this.#batch, this.#tally];
    return sendBatch({
      ...{
        store,
        settings,
        logger,
        owner,
        hosted,
        batch,
        tally,
        maxCostUsd,
        cache,
        timeoutMs,
        lanes,
        onUnknown,
        guardrails: guardrailNames(guardrails),
        drawn: this.#drawn,
        signal,
      },
    });
  }

  /** What would have stopped the run before anything was sent, had the input been smaller. */
  #laterFault({ message, hint, code }: GlueError): InputError {
    const { total, missing } = this.#batch.index.counts();
    const kept = `${total - missing} results are safe in ${this.files.partial}`;
    return new InputError(message, `${hint ?? "mend that"}; ${kept}: run the same command again then`, code);
  }

  #report(end: BatchEnd, faults: { retries: number; rateLimited: number }): BatchReport {
    const figures = batchFigures(this.#batch.index.counts(), this.#tally, faults, this.startedAt);
    const { outputPath, lanes } = this.#options;
    const quote = end.kind === "finished" ? checkQuote(outputPath, figures, lanes !== undefined) : undefined;
    return {
      id: this.id,
      status: STATUS_AT_END[end.kind],
      ...(end.kind === "stopped" && { error: end.error, providerMessage: end.providerMessage }),
      files: this.files,
      ...figures,
      ...(quote && { quote }),
    };
  }
}

/** Returns all files that a run of a batch reads or writes. */
export function filesOfBatch(inputPath: string, outputPath: string): string[] {
  return [inputPath, ...Object.values(outputFiles(outputPath))];
}
