import { z } from "zod";
import { type BatchOptions, BatchRun, INPUT_FORMATS, OUTPUT_FORMATS } from "../batch/batch-run.ts";
import { LANES, type Lane, type LaneOptions, type OnUnknown } from "../batch/lanes/lane-plan.ts";
import type { BatchQuote } from "../batch/quote/quote.ts";
import { type QuoteOptions, quoteBatch } from "../batch/quote/quote-batch.ts";
import { callTimeoutOption } from "../calls/option-schemas.ts";
import { readDeadline } from "../shared/deadline.ts";
import { JobCancelledError } from "../shared/errors.ts";
import { type Guardrail, guardrailsOption, isGuardrail } from "../shared/guardrail.ts";
import type { Logger } from "../shared/logger.ts";
import type { BatchStatus } from "../shared/records.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import type { Owner } from "../shared/tenant.ts";
import {
  callHeadersSchema,
  type ProviderOptions,
  providerOptionsSchema,
  querySchema,
} from "../shared/wire-options.ts";
import { within } from "../shared/within.ts";
import { type BatchView, cancelBatch, listBatches, viewBatch } from "../store/batch.ts";
import { asCancelled, endedBy } from "./aborted.ts";
import type { Connection } from "./connection.ts";

/** Options of a client's batches. */
export interface BatchesOptions {
  settings: Settings;
  logger: Logger;
  /** The model of rows that name none, when the batch names none either. */
  model?: string;
  /** What rows say to their providers; a batch's own come before them. */
  providerOptions?: ProviderOptions;
  /** Whether this process calls the providers. */
  keyNeeded: boolean;
  /** In whose name they are run. */
  owner: Owner;
  /** Hold for all rows, beside those of a batch. */
  guardrails?: readonly (Guardrail | string)[] | undefined;
  /** Gets the guardrails that a batch brings along, for a worker of this process. */
  offerGuardrails?: ((guardrails: Guardrail[]) => void) | undefined;
}

/** The time that calls in flight have when a client closes. */
const CLOSE_MS = 30_000;

/** How rows are bought when there is time. */
export interface DeadlineOptions {
  /**
   * By when every row should have its result: a date, a span from now (`6h`, `90m`) or the next such time of day (`08:00`). Rows are bought
   * in provider batches, at half the price, as long as these may be done in time. Default: online, at once.
   */
  by?: Date | string;
  /** What may be bought; default all: `batch`, `flex` and `online`, which is the last way in any case. */
  lanes?: readonly Lane[];
  /**
   * What becomes of rows of which nobody can tell whether a provider batch has them, when their time comes, which without `by` is
   * at once: `wait` until it can be told (default), or `buy` them online, perhaps twice.
   */
  onUnknown?: OnUnknown;
}

const deadlineSchema = z
  .object({
    by: z.union([z.date(), z.string()]).optional(),
    lanes: z.array(z.enum(LANES)).min(1).optional(),
    onUnknown: z.enum(["wait", "buy"]).optional(),
  })
  .refine(({ by, lanes }) => by !== undefined || lanes === undefined, {
    path: ["by"],
    error: "lanes say nothing without it",
  });

const batchShape = {
  inputPath: z.string().min(1),
  model: z.string().optional(),
  inputFormat: z.enum(INPUT_FORMATS).optional(),
  promptField: z.string().optional(),
  limitRows: z.int().positive().optional(),
  maxCostUsd: z.number().positive().optional(),
  cache: z.boolean().optional(),
  guardrails: guardrailsOption,
  timeoutMs: callTimeoutOption,
  providerOptions: providerOptionsSchema.optional(),
  headers: callHeadersSchema.optional(),
  query: querySchema.optional(),
};

const optionsSchema: z.ZodType<BatchOptions> = z.strictObject({
  ...batchShape,
  outputPath: z.string().min(1),
  format: z.enum(OUTPUT_FORMATS).optional(),
  strict: z.boolean().optional(),
  retryFailed: z.boolean().optional(),
});

const quoteSchema: z.ZodType<QuoteOptions> = z.strictObject({
  ...batchShape,
  outputPath: z.string().min(1).optional(),
  sampleRows: z.int().min(2).max(10_000).optional(),
  seed: z.int().min(0).optional(),
  callsAtATime: z.int().positive().optional(),
});

/** The batches of a client: files of rows, run by this process and seen from any. */
export class Batches {
  readonly #connection: Connection;
  readonly #options: BatchesOptions;
  readonly #running = new Set<BatchRun>();

  /** Makes the batches of a client. */
  constructor(connection: Connection, options: BatchesOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * Starts a batch and returns once its whole input was checked: `report()` waits for its end, `follow()` yields where
   * it stands, `stop()` withdraws what waits. The same options again continue it, also after a crash of this process;
   * rows that have a result are not sent again. The signal does what `stop()` does; `report()` throws a
   * JobCancelledError when Redis had not answered by then.
   * @throws as `BatchRun.prepare`; InputError naming the option that is unknown or wrong.
   */
  async run(given: BatchOptions & DeadlineOptions & { signal?: AbortSignal }): Promise<BatchRun> {
    const { signal, by, lanes, onUnknown, ...options } = given;
    checkWith(optionsSchema, options, "the batch's options", "are");
    checkWith(deadlineSchema, { by, lanes, onUnknown }, "the batch's options", "are");
    const bought = { onUnknown, ...(by !== undefined && { lanes: lanesOf({ by, lanes }) }) };
    // Held from here to the end of the run: an idle client closes its connection.
    const held = this.#connection.hold();
    try {
      signal?.throwIfAborted();
      const openStore = () => endedBy(signal, this.#connection.store(signal));
      const { model, providerOptions, offerGuardrails, ...context } = this.#options;
      const guardrails = [...(this.#options.guardrails ?? []), ...(options.guardrails ?? [])];
      offerGuardrails?.(guardrails.filter(isGuardrail));
      const ofClient = providerOptions && {
        providerOptions: { ...providerOptions, ...options.providerOptions },
      };
      const run = await BatchRun.prepare(
        { model, ...options, ...bought, ...ofClient, guardrails },
        { ...context, openStore },
      );
      const stop = () => run.stop();
      signal?.addEventListener("abort", stop, { once: true });
      if (signal?.aborted) stop();
      this.#running.add(run);
      run.start();
      void run
        .report()
        .catch(() => {})
        .finally(() => {
          signal?.removeEventListener("abort", stop);
          this.#running.delete(run);
          held[Symbol.dispose]();
        });
      return run;
    } catch (error) {
      held[Symbol.dispose]();
      throw asCancelled(signal, error);
    }
  }

  /**
   * Asks a sample of a batch's rows and returns what all of them may cost and take, each way that they can be bought. The sample's rows
   * have their results then: `run` with the same input and model, or the same output, does not ask them again.
   * @throws as `run`; the error of an account or a limit that stopped the sample; JobCancelledError
   */
  async quote(given: QuoteOptions & DeadlineOptions & { signal?: AbortSignal }): Promise<BatchQuote> {
    const { signal, by, lanes, onUnknown, ...options } = given;
    checkWith(quoteSchema, options, "the quote's options", "are");
    checkWith(deadlineSchema, { by, lanes, onUnknown }, "the quote's options", "are");
    using _ = this.#connection.hold();
    const openStore = () => endedBy(signal, this.#connection.store(signal));
    const { model, providerOptions, ...context } = this.#options;
    let stop = () => {};
    try {
      signal?.throwIfAborted();
      const quote = await quoteBatch(
        {
          ...{ model, ...options },
          ...(by !== undefined && { lanes: lanesOf({ by, lanes }) }),
          ...(providerOptions && { providerOptions: { ...providerOptions, ...options.providerOptions } }),
        },
        { ...context, openStore },
        (run) => {
          stop = () => run.stop();
          signal?.addEventListener("abort", stop, { once: true });
          this.#running.add(run);
          void run
            .report()
            .catch(() => {})
            .finally(() => this.#running.delete(run));
        },
      );
      if (quote) return quote;
      throw new JobCancelledError({
        message: "the sample was interrupted",
        hint: "quote again: what was asked is not asked again",
      });
    } catch (error) {
      throw asCancelled(signal, error);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Returns the handle of a batch that was run here or elsewhere. */
  open(id: string): BatchHandle {
    return new BatchHandle(this.#connection, id, this.#options.owner.tenant);
  }

  /** Returns the newest batches of the last 30 days, newest first; default 20. */
  async list({ limit = 20 }: { limit?: number } = {}): Promise<BatchHandle[]> {
    const records = await this.#connection.useStore((store) =>
      listBatches(store, limit, this.#options.owner.tenant),
    );
    return records.map(({ id }) => this.open(id));
  }

  /** Does `open(id).cancel()`. */
  cancel(id: string): Promise<BatchStatus> {
    return this.open(id).cancel();
  }

  /** Stops the runs of this process and waits up to 30 s for their calls; the same options continue them. */
  async close(): Promise<void> {
    for (const run of this.#running) run.stop();
    await within(CLOSE_MS, Promise.allSettled([...this.#running].map((run) => run.report())));
  }
}

/** The handle of a batch, for any process that has its id. */
export class BatchHandle {
  readonly #connection: Connection;
  /** The batch's id, which opens the handle again: `glue.batches.open(id)`. */
  readonly id: string;

  /** Whose batch it has to be; undefined: anybody's. */
  readonly #tenant: string | undefined;

  /** Makes a handle, as `open` and `list` do. */
  constructor(connection: Connection, id: string, tenant?: string) {
    this.#connection = connection;
    this.#tenant = tenant;
    this.id = id;
  }

  /** Returns everything known of the batch. @throws InputError `unknown_batch` when Redis has no record of it. */
  async status(): Promise<BatchView> {
    return await this.#connection.useStore((store) => viewBatch(store, this.id, this.#tenant));
  }

  /**
   * Withdraws the waiting rows; calls in flight finish and their results are kept. Returns the status that the batch
   * has then: `cancelling` while its run ends, or the one that it had ended with before.
   * @throws InputError `unknown_batch` when Redis has no record of it.
   */
  async cancel(): Promise<BatchStatus> {
    const { status } = await this.#connection.useStore((store) => cancelBatch(store, this.id, this.#tenant));
    return status;
  }
}

function lanesOf({ by = "", lanes = LANES }: DeadlineOptions): LaneOptions {
  return { byMs: readDeadline(by), lanes };
}
