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
import type { IndexRow, UsualUse } from "../index-row.ts";
import type { RowReader } from "../row-reader.ts";

/** What is held of a cost limit for a row that names no limit, before answers were seen. */
const USUAL: UsualUse = { perAskedToken: 1, completion: 1000 };

/** A row as its provider's batch carries it. */
export interface LaneRequest {
  body: object;
  endpoint: string;
  /** What it may cost in such a batch, in USD; 0 where nobody knows. */
  mostUsd: number;
  /** Of its prompt, by estimate. */
  tokens: number;
}

/** Makes a batch's rows into requests of their providers' batches, the same in every run. */
export class LaneRequests {
  readonly #settings: Settings;
  readonly #reader: RowReader;
  readonly #wire: WireOptions | undefined;
  readonly #providers = new Map<string, Promise<ProviderBatches>>();

  constructor(settings: Settings, reader: RowReader, wire: WireOptions | undefined) {
    this.#settings = settings;
    this.#reader = reader;
    this.#wire = wire;
  }

  /** Returns the batches of an entry's account. @throws ConfigurationError when its key is missing */
  async providerOf(entryName: string): Promise<ProviderBatches> {
    const known = this.#providers.get(entryName);
    if (known) return known;
    const entry = this.#settings.providers[entryName];
    if (!entry) throw new Error(`no provider entry ${entryName}`);
    const made = createBatches(entry, { proxyVariables: this.#settings.system.proxyVariables });
    this.#providers.set(entryName, made);
    return made;
  }

  /**
   * Returns the request of a row; undefined for one that a provider batch cannot carry.
   * @param usual what rows of the model took, as far as that is known
   */
  async of(model: ModelRef, row: IndexRow, usual = USUAL): Promise<LaneRequest | undefined> {
    const provider = await this.providerOf(model.entry);
    const { request } = await this.#reader.readRow(row);
    const call = batchCall(model, { request, wire: this.#wire });
    const tokens = estimatePromptTokens(request);
    const limit = outputLimitOf(request) ?? usual.completion;
    const [prompt, completion] = [tokens * usual.perAskedToken, limit * (toDouble(request.n) ?? 1)];
    const most = { prompt, completion, total: prompt + completion, cached: 0 };
    const mostUsd = (costUsd(this.#settings.prices, model, most) ?? 0) * provider.priceShare;
    try {
      return { body: provider.bodyOf(call), endpoint: provider.endpointOf(call), mostUsd, tokens };
    } catch (error) {
      if (error instanceof GlueError) return undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    const closed = [...this.#providers.values()].map(async (provider) => (await provider).close());
    // One that could not be made is not to be closed.
    await Promise.allSettled(closed);
  }
}
