import { outputLimitOf } from "../../providers/answer-length.ts";
import { createBatches } from "../../providers/batches/create-batches.ts";
import { batchCall, type ProviderBatches } from "../../providers/batches/provider-batches.ts";
import { costUsd } from "../../shared/cost.ts";
import { GlueError } from "../../shared/errors.ts";
import { toDouble } from "../../shared/exact-json.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import { estimatePromptTokens } from "../../shared/token-estimate.ts";
import type { WireOptions } from "../../shared/wire-options.ts";
import type { IndexRow } from "../index-row.ts";
import type { RowReader } from "../row-reader.ts";

/** Output tokens that are held of a cost limit for a row that names no limit. */
const USUAL_OUTPUT = 1000;

/** A row as its provider's batch carries it. */
export interface LaneRequest {
  body: object;
  endpoint: string;
  /** What it may cost in such a batch, in USD; 0 where nobody knows. */
  mostUsd: number;
}

/** Makes a batch's rows into requests of their providers' batches, the same in every run. */
export class LaneRequests {
  readonly #settings: Settings;
  readonly #reader: RowReader;
  readonly #wire: WireOptions | undefined;
  readonly #providers = new Map<string, ProviderBatches>();

  constructor(settings: Settings, reader: RowReader, wire: WireOptions | undefined) {
    this.#settings = settings;
    this.#reader = reader;
    this.#wire = wire;
  }

  /** Returns the batches of an entry's account. @throws ConfigurationError when its key is missing */
  providerOf(entryName: string): ProviderBatches {
    const known = this.#providers.get(entryName);
    if (known) return known;
    const entry = this.#settings.providers[entryName];
    if (!entry) throw new Error(`no provider entry ${entryName}`);
    const made = createBatches(entry, { proxyVariables: this.#settings.system.proxyVariables });
    this.#providers.set(entryName, made);
    return made;
  }

  /** Returns the request of a row; undefined for one that a provider batch cannot carry. */
  async of(model: ModelRef, row: IndexRow): Promise<LaneRequest | undefined> {
    const provider = this.providerOf(model.entry);
    const { request } = await this.#reader.readRow(row);
    const call = batchCall(model, { request, wire: this.#wire });
    const limit = outputLimitOf(request) ?? USUAL_OUTPUT;
    const [prompt, completion] = [estimatePromptTokens(request), limit * (toDouble(request.n) ?? 1)];
    const most = { prompt, completion, total: prompt + completion, cached: 0 };
    const mostUsd = (costUsd(this.#settings.prices, model, most) ?? 0) * provider.priceShare;
    try {
      return { body: provider.bodyOf(call), endpoint: provider.endpointOf(call), mostUsd };
    } catch (error) {
      if (error instanceof GlueError) return undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#providers.values()].map((provider) => provider.close()));
  }
}
