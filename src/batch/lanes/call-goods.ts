import {
  type BatchAnswer,
  type BatchRequest,
  batchCall,
  type ProviderBatch,
  type ProviderBatches,
} from "../../providers/batches/provider-batches.ts";
import type { ChatRequest } from "../../shared/chat.ts";
import { costUsd } from "../../shared/cost.ts";
import { sha256 } from "../../shared/digest.ts";
import { toErrorRecord } from "../../shared/error-record.ts";
import { GlueError } from "../../shared/errors.ts";
import { modelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import type { LaneBuy } from "../../store/lane-buy.ts";
import { type LaneCall, readRequests, type Told, tellCall } from "../../store/lane-call.ts";
import type { Store } from "../../store/store.ts";
import type { LaneGoods } from "./lane-ladder.ts";
import { type Brought, resultsGone, wouldComeAgain } from "./lane-results.ts";

/** Requests that are read at a time. */
const PAGE = 100;

interface CallGoodsOptions {
  store: Store;
  settings: Settings;
  entry: string;
  provider: ProviderBatches;
  /** Returns the calls of a buy. */
  callsOf: (buy: LaneBuy) => LaneCall[];
}

/** Calls of jobs as what is bought. */
export class CallGoods implements LaneGoods {
  readonly #options: CallGoodsOptions;

  constructor(options: CallGoodsOptions) {
    this.#options = options;
  }

  async providerOf(): Promise<ProviderBatches> {
    return this.#options.provider;
  }

  async requestsOf(buy: LaneBuy): Promise<BatchRequest[]> {
    const made: BatchRequest[] = [];
    for await (const { call, request } of this.requests(this.#options.callsOf(buy)))
      made.push({
        customId: customIdOf(buy, call),
        body: this.#options.provider.bodyOf(this.#callOf(call, request)),
      });
    return made;
  }

  namesOf(buy: LaneBuy): ReadonlySet<string> {
    return new Set(this.#options.callsOf(buy).map((call) => customIdOf(buy, call)));
  }

  /** Yields calls with their requests; those whose request is gone are left out. */
  async *requests(calls: readonly LaneCall[]): AsyncGenerator<{ call: LaneCall; request: ChatRequest }> {
    for (let i = 0; i < calls.length; i += PAGE) {
      const page = calls.slice(i, i + PAGE);
      const requests = await readRequests(
        this.#options.store,
        page.map(({ id }) => id),
      );
      for (const [j, call] of page.entries()) {
        const request = requests[j];
        if (request) yield { call, request };
      }
    }
  }

  /** Returns where a call goes and its size in a batch; the reason when the provider's batches cannot carry it. */
  fit(call: LaneCall, request: ChatRequest): { endpoint: string; bytes: number } | { reason: string } {
    const asked = this.#callOf(call, request);
    const { provider } = this.#options;
    try {
      const bytes = Buffer.byteLength(JSON.stringify(provider.bodyOf(asked)));
      return { endpoint: provider.endpointOf(asked), bytes };
    } catch (error) {
      if (error instanceof GlueError) return { reason: error.message };
      throw error;
    }
  }

  async readIn(buy: LaneBuy, provider: ProviderBatches, batch: ProviderBatch): Promise<Brought | undefined> {
    const { callsOf } = this.#options;
    const asked = new Map<string, { call: LaneCall; request: ChatRequest }>();
    for await (const one of this.requests(callsOf(buy))) asked.set(customIdOf(buy, one.call), one);
    const any = batchCall(modelRef(buy.entry, buy.model), { request: { messages: [] } });
    const requestOf = (customId: string) => {
      const one = asked.get(customId);
      return one ? this.#callOf(one.call, one.request) : any;
    };
    const recorded = new Set<string>();
    const seen = new Set<string>();
    let isWhole = true;
    for await (const answer of provider.results(batch, requestOf)) {
      // Some tell an answer twice.
      if (seen.has(answer.customId)) continue;
      seen.add(answer.customId);
      if ("unpaid" in answer) isWhole = false;
      const call = asked.get(answer.customId)?.call;
      const told = call && this.#toldOf(buy, provider, answer);
      if (!call || !told) continue;
      await this.#tell(buy, call, told);
      recorded.add(call.id);
    }
    return seen.size < batch.done ? undefined : { recorded, paidUsd: undefined, isWhole };
  }

  async lose(buy: LaneBuy): Promise<Brought> {
    const calls = this.#options.callsOf(buy);
    const error = toErrorRecord(resultsGone(buy, "the call", "retry the job to buy it again"));
    for (const call of calls) await this.#tell(buy, call, { kind: "error", error });
    return { recorded: new Set(calls.map(({ id }) => id)), paidUsd: undefined, isWhole: false };
  }

  async #tell(buy: LaneBuy, call: LaneCall, told: Told): Promise<void> {
    const { store, entry } = this.#options;
    await tellCall(store, entry, call.id, told, buy.id);
  }

  #callOf({ model, wire }: LaneCall, request: ChatRequest) {
    return batchCall(modelRef(this.#options.entry, model), { request, wire });
  }

  /** Undefined for what may be had by another try. */
  #toldOf({ entry, model }: LaneBuy, { priceShare }: ProviderBatches, answer: BatchAnswer): Told | undefined {
    if ("unpaid" in answer) return undefined;
    if ("error" in answer)
      return wouldComeAgain(answer.error) ? { kind: "error", error: toErrorRecord(answer.error) } : undefined;
    const { statusCode, requestId, body, tokens } = answer.reply;
    const full = costUsd(this.#options.settings.prices, modelRef(entry, model), tokens);
    return {
      kind: "call",
      call: {
        ...{ entry, model, statusCode, requestId, body, tokens: { ...tokens } },
        ...{ costUsd: full === null ? null : full * priceShare, latencyMs: 0, lane: "batch" },
      },
    };
  }
}

/** The name of a call in a buy's provider batch: of this buy alone, so that results tell whose they are. */
function customIdOf(buy: LaneBuy, { id }: LaneCall): string {
  return `${sha256(id).slice(0, 40)}-${buy.id.slice(0, 13)}`;
}
