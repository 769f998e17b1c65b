import {
  type BatchAnswer,
  batchCall,
  type ProviderBatch,
  type ProviderBatches,
} from "../../providers/batches/provider-batches.ts";
import { costUsd } from "../../shared/cost.ts";
import { toErrorRecord } from "../../shared/error-record.ts";
import { InvalidRequestError, type LLMError, TokenLimitError } from "../../shared/errors.ts";
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
   * @returns the rows whose outcome is final, and what the whole batch cost in USD
   */
  async readIn(
    buy: LaneBuy,
    provider: ProviderBatches,
    batch: ProviderBatch,
  ): Promise<{ recorded: ReadonlySet<string>; paidUsd: number }> {
    const { settings, reader, wire } = this.#options;
    const model = modelRef(buy.entry, buy.model);
    const rows = new Map<string, { jobId: string; row: BatchRow }>();
    for (const { jobId, row } of this.#rows.of(buy))
      rows.set(customIdOf(buy, row), { jobId, row: await reader.readRow(row) });
    const callOf = (customId: string) =>
      batchCall(model, { request: rows.get(customId)?.row.request ?? { messages: [] }, wire });
    const recorded = new Set<string>();
    let paidUsd = 0;
    for await (const answer of provider.results(batch, callOf)) {
      const full = "reply" in answer ? (costUsd(settings.prices, model, answer.reply.tokens) ?? 0) : 0;
      paidUsd += full * provider.priceShare;
      const one = rows.get(answer.customId);
      if (!one || "unpaid" in answer) continue;
      if ("error" in answer && !isFinal(answer.error)) {
        this.#rows.failed(one.jobId);
        continue;
      }
      await this.#record(buy, one, this.#recordOf(buy, provider, one.jobId, answer));
      recorded.add(one.jobId);
    }
    return { recorded, paidUsd };
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
    const { settings, owner } = this.#options;
    const entry = settings.providers[buy.entry];
    const target = {
      provider: { entry: buy.entry, fingerprint: entry ? fingerprint(entry) : "" },
      model: buy.model,
      tenant: owner.tenant,
    };
    if ("error" in answer) {
      const record = emptyRecord(jobId, target, "failed");
      return { ...record, error: { ...toErrorRecord(answer.error), attempts: 1 } };
    }
    const { statusCode, requestId, body, tokens } = answer.reply;
    const full = costUsd(settings.prices, modelRef(buy.entry, buy.model), tokens);
    return {
      ...emptyRecord(jobId, target, "succeeded"),
      lane: "batch",
      response: { statusCode, requestId, body },
      tokens: { ...tokens },
      calls: 1,
      costUsd: full === null ? null : full * priceShare,
    };
  }
}

/** What another try would bring again. */
function isFinal(error: LLMError): boolean {
  return error instanceof InvalidRequestError || error instanceof TokenLimitError;
}
