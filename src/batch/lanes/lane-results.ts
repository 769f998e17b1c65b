import {
  type BatchAnswer,
  batchCall,
  type ProviderBatch,
  type ProviderBatches,
} from "../../providers/batches/provider-batches.ts";
import { costUsd } from "../../shared/cost.ts";
import { privatePartsOf, toErrorRecord } from "../../shared/error-record.ts";
import { GlueError, InvalidRequestError, type LLMError, TokenLimitError } from "../../shared/errors.ts";
import { modelRef } from "../../shared/model-name.ts";
import { fingerprint } from "../../shared/providers.ts";
import { completionQueueName } from "../../shared/queue-name.ts";
import { emptyRecord, type ResultRecord } from "../../shared/records.ts";
import type { Settings } from "../../shared/settings.ts";
import type { Owner } from "../../shared/tenant.ts";
import type { WireOptions } from "../../shared/wire-options.ts";
import { type LaneBuy, recordRow } from "../../store/lane-buy.ts";
import type { Store } from "../../store/store.ts";
import type { BatchRow, RowReader } from "../row-reader.ts";
import type { LaneRows } from "./lane-rows.ts";

const MAX_SHOWN_CHARS = 200;

export interface LaneResultsOptions {
  store: Store;
  settings: Settings;
  owner: Owner;
  batchId: string;
  reader: RowReader;
  wire?: WireOptions | undefined;
}

/** What a buy brought. */
export interface Brought {
  /** The rows whose outcome is final. */
  recorded: ReadonlySet<string>;
  /** What the whole batch cost; undefined: nobody knows. */
  paidUsd: number | undefined;
  /** Whether the batch has done all its rows, so that it tells how long such a batch takes. */
  isWhole: boolean;
}

/** Returns the name of a row in a buy's provider batch: of this buy alone, so that results tell whose they are. */
export function customIdOf(buy: LaneBuy, { id }: { id: string }): string {
  return `${id}-${buy.id.slice(0, 13)}`;
}

/** Takes in what provider batches brought. */
export class LaneResults {
  readonly #options: LaneResultsOptions;
  readonly #rows: LaneRows;

  constructor(options: LaneResultsOptions, rows: LaneRows) {
    this.#options = options;
    this.#rows = rows;
  }

  /**
   * Records what a batch brought for its rows; it may be done again from the beginning, which changes nothing.
   * @returns undefined when the provider tells of fewer rows than it has done: its results are not whole yet
   */
  async readIn(buy: LaneBuy, provider: ProviderBatches, batch: ProviderBatch): Promise<Brought | undefined> {
    const { settings, reader, wire } = this.#options;
    const model = modelRef(buy.entry, buy.model);
    const rows = new Map<string, { jobId: string; row: BatchRow }>();
    for (const { jobId, row } of this.#rows.of(buy))
      rows.set(customIdOf(buy, row), { jobId, row: await reader.readRow(row) });
    const callOf = (customId: string) =>
      batchCall(model, { request: rows.get(customId)?.row.request ?? { messages: [] }, wire });
    const recorded = new Set<string>();
    const told = new Set<string>();
    let paidUsd = 0;
    let isWhole = true;
    for await (const answer of provider.results(batch, callOf)) {
      // Some tell a row twice.
      if (told.has(answer.customId)) continue;
      told.add(answer.customId);
      if ("unpaid" in answer) isWhole = false;
      const full = "reply" in answer ? (costUsd(settings.prices, model, answer.reply.tokens) ?? 0) : 0;
      paidUsd += full * provider.priceShare;
      const one = rows.get(answer.customId);
      if (!one || "unpaid" in answer) continue;
      if ("error" in answer && !wouldComeAgain(answer.error)) {
        this.#rows.failed(one.jobId, buy.id);
        continue;
      }
      await this.#record(buy, one, this.#recordOf(buy, provider, one.jobId, answer));
      recorded.add(one.jobId);
    }
    // Its rows are free only when it has told of all that it did.
    return told.size < batch.done ? undefined : { recorded, paidUsd, isWhole };
  }

  /** Fails the rows of a batch whose results are gone, but for those that are recorded: they may have been paid, so that only their owner buys them again. */
  async loseRows(buy: LaneBuy): Promise<Brought> {
    const recorded = new Set<string>();
    for (const { jobId, row } of this.#rows.of(buy)) {
      const error = resultsGone(buy, "the row", "--retry-failed buys it again");
      const record = {
        ...this.#emptyRecord(buy, jobId, "failed"),
        error: { ...toErrorRecord(error), attempts: 1 },
      };
      await this.#record(buy, { row: await this.#options.reader.readRow(row) }, record);
      recorded.add(jobId);
    }
    return { recorded, paidUsd: undefined, isWhole: false };
  }

  async #record(buy: LaneBuy, { row }: { row: BatchRow }, record: ResultRecord): Promise<void> {
    const { store, settings, batchId, owner } = this.#options;
    const model = modelRef(buy.entry, buy.model);
    await recordRow(store, {
      batchId,
      buy,
      model,
      queue: completionQueueName(model),
      record,
      customId: row.customId.slice(0, MAX_SHOWN_CHARS),
      line: row.line,
      retention: settings.retention,
      owner,
    });
  }

  #recordOf(
    buy: LaneBuy,
    { priceShare }: ProviderBatches,
    jobId: string,
    answer: Exclude<BatchAnswer, { unpaid: unknown }>,
  ): ResultRecord {
    const { settings } = this.#options;
    if ("error" in answer) {
      const { providerMessage } = privatePartsOf(answer.error);
      const error = { ...toErrorRecord(answer.error), attempts: 1 };
      return {
        ...this.#emptyRecord(buy, jobId, "failed"),
        error,
        ...(providerMessage && { providerMessage }),
      };
    }
    const { statusCode, requestId, body, tokens } = answer.reply;
    const full = costUsd(settings.prices, modelRef(buy.entry, buy.model), tokens);
    return {
      ...this.#emptyRecord(buy, jobId, "succeeded"),
      lane: "batch",
      response: { statusCode, requestId, body },
      tokens: { ...tokens },
      calls: 1,
      costUsd: full === null ? null : full * priceShare,
    };
  }

  #emptyRecord(buy: LaneBuy, jobId: string, status: ResultRecord["status"]): ResultRecord {
    const { settings, owner } = this.#options;
    const entry = settings.providers[buy.entry];
    const target = {
      provider: { entry: buy.entry, fingerprint: entry ? fingerprint(entry) : "" },
      model: buy.model,
      tenant: owner.tenant,
    };
    return emptyRecord(jobId, target, status);
  }
}

/** The error of what may have been paid in a provider batch and is nowhere to be had any more. */
export function resultsGone({ batchId }: LaneBuy, what: string, hint: string): GlueError {
  const message = `the results of the provider batch ${batchId} are gone; ${what} may have been paid`;
  return new GlueError({ code: "results_expired", category: "provider", message, hint });
}

/** Returns whether another try would bring the same error again. */
export function wouldComeAgain(error: LLMError): boolean {
  return error instanceof InvalidRequestError || error instanceof TokenLimitError;
}
