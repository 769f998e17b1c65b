import { isGone, isUnknown } from "../../providers/batches/exchange.ts";
import {
  type BatchMark,
  type BatchRequest,
  batchCall,
  type ProviderBatch,
  type ProviderBatches,
} from "../../providers/batches/provider-batches.ts";
import type { LLMError } from "../../shared/errors.ts";
import type { Logger } from "../../shared/logger.ts";
import { modelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import type { Lease } from "../../store/batch-lease.ts";
import { type LaneBuy, saveBuy } from "../../store/lane-buy.ts";
import { noteDuration } from "../../store/lane-durations.ts";
import type { Store } from "../../store/store.ts";
import type { Brought } from "./lane-results.ts";

/** A list may lag behind: only after so long is a batch that it does not name taken for never made. */
const LIST_LAG_MS = 120_000;
/** So often results are looked at that tell of fewer rows than their batch has done, before the rest of them counts as gone. */
const MAX_LOOKS = 10;
/** How often a provider is asked at the most whether a batch that was cancelled has ended. */
const CANCEL_POLL_MS = 5000;

/** What is bought: rows of a batch, or calls of jobs. */
export interface LaneGoods {
  /** Returns the batches of an entry's account. @throws ConfigurationError when its key is missing */
  providerOf(entry: string): Promise<ProviderBatches>;
  /** Returns the requests of a buy, with the same names each time. */
  requestsOf(buy: LaneBuy): Promise<BatchRequest[]>;
  /** Returns the names of its requests. */
  namesOf(buy: LaneBuy): ReadonlySet<string>;
  /**
   * Records what a batch brought for a buy; it may be done again from the beginning, which changes nothing.
   * @returns undefined when the provider tells of less than it has done
   */
  readIn(buy: LaneBuy, provider: ProviderBatches, batch: ProviderBatch): Promise<Brought | undefined>;
  /** Records that what a batch brought is gone: perhaps paid, and nowhere to be had. */
  lose(buy: LaneBuy): Promise<Brought>;
}

/** What a buy's steps need to know of all others, and tell them. */
interface LaneSite {
  /** Whether what has not been asked for yet may still be bought in a batch. */
  wants(buy: LaneBuy): boolean;
  /** Whether what lies in the provider's batch has to go another way. */
  isLate(buy: LaneBuy): boolean;
  /** Whether it is bought online though nobody knows what became of the batch. */
  buysUnknown(): boolean;
  /** The provider's names of the batches that are known. */
  knownIds(): ReadonlySet<string | undefined>;
  /** The provider has no room for it: smaller groups, later. `poolTokens`: how many may wait, where it tells. */
  full(buy: LaneBuy, poolTokens: number | undefined): Promise<void>;
  /** The provider takes no batches of the model, for the reason given. */
  close(modelKey: string, reason: string): void;
  /** The buy is over; what of it is not recorded is free. `isFull`: the provider had no room for it. */
  end(buy: LaneBuy, how?: { brought?: Brought; isFull?: boolean }): Promise<void>;
  wake(): void;
}

interface LaneLadderOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
  lease: Lease;
  /** The batch, or what stands for one, whose buys they are. */
  batchId: string;
  goods: LaneGoods;
  site: LaneSite;
}

/**
 * The steps of a buy: taken → uploaded → asked for → made → ended → read in. Each is written down before the next one begins, so
 * that whoever goes on after a crash knows what may have been paid.
 */
export class LaneLadder {
  readonly #options: LaneLadderOptions;
  /** By buy: since when this process looks for what it does not find, by a clock that nobody moves; and how often it has looked. */
  readonly #searches = new Map<string, { since: number; looks: number }>();
  /** Buy and batch of the provider that is not the buy's. */
  readonly #others = new Set<string>();

  constructor(options: LaneLadderOptions) {
    this.#options = options;
  }

  /** Does the next step of a buy; returns how long to wait until the one after, in milliseconds. */
  async step(buy: LaneBuy): Promise<number> {
    const { site } = this.#options;
    if (buy.state === "created") return this.#look(buy);
    if (buy.state === "creating") return this.#findUnknown(buy);
    // Nothing was asked for yet: where its time has passed, its rows go another way.
    const isGone = buy.cancelledAt !== undefined || !site.wants(buy);
    if (isGone) await site.end(buy);
    else await this.#create(buy);
    return 0;
  }

  async #create(buy: LaneBuy): Promise<void> {
    const { goods, site } = this.#options;
    const provider = await goods.providerOf(buy.entry);
    const made = await goods.requestsOf(buy);
    if (made.length === 0) return site.end(buy);
    let isAskedFor = false;
    try {
      const [file, after] = [await provider.upload?.(made, buy.endpoint), await provider.newest?.()];
      // Another process may have gone on with the batch while this one stood still.
      await this.#options.lease.confirm();
      const since = Date.now();
      await this.#save(buy, { state: "creating", file, after, requests: made.length, since });
      const input = { requests: made, ...(file !== undefined && { file }) };
      isAskedFor = true;
      await this.#adopt(buy, await provider.create(markOf(buy), buy.endpoint, input));
    } catch (error) {
      // What has no status is none of the provider's: Redis' fault, or a lease that is lost.
      const { status, providerMessage: message = "" } = error as LLMError;
      const isBusy = !isAskedFor && status === 429;
      if (!isUnknown(error) && !isBusy)
        return this.#refused(buy, { message, isFull: status === 429 || status === 413 });
      if (isAskedFor) await this.#save(buy, { unknownSince: Date.now() });
      throw error;
    }
  }

  async #adopt(buy: LaneBuy, made: ProviderBatch): Promise<void> {
    this.#searches.delete(buy.id);
    await this.#save(buy, {
      state: "created",
      batchId: made.id,
      unknownSince: undefined,
      seen: seenOf(made),
    });
    const { key } = modelRef(buy.entry, buy.model);
    this.#options.logger.info({ model: key, rows: buy.requests, id: made.id }, "bought a provider batch");
  }

  /** The answer to its making was lost, or the process that asked for it. It is not asked for again until that is known. */
  async #findUnknown(buy: LaneBuy): Promise<number> {
    const { settings, goods, site } = this.#options;
    const provider = await goods.providerOf(buy.entry);
    if (buy.unknownSince === undefined) await this.#save(buy, { unknownSince: Date.now() });
    const search = this.#searchOf(buy);
    const { batches, isSure } = await provider.find(markOf(buy), buy.file);
    const known = site.knownIds();
    const others = batches.filter(({ id }) => !known.has(id));
    const found = isSure ? others[0] : await this.#firstOf(buy, provider, others);
    if (found) {
      await this.#adopt(buy, found);
      return 0;
    }
    const mayBeOne = others.some(({ state }) => state === "in_progress" || state === "cancelling");
    // The list may name it yet.
    if (performance.now() - search.since < Math.min(LIST_LAG_MS, settings.lanePollMs * 4))
      return settings.lanePollMs;
    if (!mayBeOne) {
      this.#searches.delete(buy.id);
      // The provider has no batch that could be this one: it was never made.
      await this.#save(buy, { state: "intended", unknownSince: undefined });
      return 0;
    }
    return this.#waitUnknown(buy);
  }

  /** Nobody can tell whether the provider has the rows: they wait, or are bought again when the time is up. */
  async #waitUnknown(buy: LaneBuy): Promise<number> {
    const { settings, site, logger } = this.#options;
    if (site.buysUnknown()) {
      logger.warn({ buy: buy.id, rows: buy.requests }, "rows of an unknown provider batch are bought online");
      await site.end(buy);
    }
    return settings.lanePollMs;
  }

  #searchOf({ id }: LaneBuy): { since: number; looks: number } {
    const known = this.#searches.get(id) ?? { since: performance.now(), looks: 0 };
    this.#searches.set(id, known);
    known.looks += 1;
    return known;
  }

  /** Where a batch carries no mark, its results alone name its requests. */
  async #firstOf(
    buy: LaneBuy,
    provider: ProviderBatches,
    batches: readonly ProviderBatch[],
  ): Promise<ProviderBatch | undefined> {
    const own = this.#options.goods.namesOf(buy);
    const any = batchCall(modelRef(buy.entry, buy.model), { request: { messages: [] } });
    for (const batch of batches) {
      const pair = `${buy.id} ${batch.id}`;
      if (batch.state !== "ended" || this.#others.has(pair)) continue;
      for await (const { customId } of provider.results(batch, () => any)) {
        if (own.has(customId)) return batch;
        break;
      }
      this.#others.add(pair);
    }
    return undefined;
  }

  async #look(buy: LaneBuy): Promise<number> {
    const { settings, store, goods, site } = this.#options;
    const provider = await goods.providerOf(buy.entry);
    const id = buy.batchId ?? "";
    if (site.isLate(buy)) buy.cancelledAt ??= Date.now();
    let batch: ProviderBatch;
    try {
      batch = await provider.get(id);
    } catch (error) {
      if (!isGone(error)) throw error;
      // Its key may be of another account by now.
      if (buy.unknownSince === undefined) await this.#save(buy, { unknownSince: Date.now() });
      return this.#waitUnknown(buy);
    }
    if (batch.state === "in_progress" && buy.cancelledAt !== undefined) {
      await provider.cancel(id);
      batch = await provider.get(id);
    }
    await this.#save(buy, { seen: seenOf(batch), unknownSince: undefined });
    site.wake();
    if (batch.state === "failed") {
      const { code, message = "" } = batch.failure ?? {};
      await this.#refused(buy, { message, isFull: code === "token_limit_exceeded" });
      return 0;
    }
    const pollMs = settings.lanePollMs;
    if (batch.state !== "ended")
      return buy.cancelledAt === undefined ? pollMs : Math.min(pollMs, CANCEL_POLL_MS);
    const brought = await this.#readIn(buy, provider, batch);
    if (!brought) return pollMs;
    if (batch.endedAt) {
      const { key } = modelRef(buy.entry, buy.model);
      const tookMs = batch.endedAt - batch.createdAt;
      await noteDuration(store, key, brought.isWhole ? tookMs : -tookMs);
    }
    await site.end(buy, { brought });
    return 0;
  }

  async #readIn(buy: LaneBuy, provider: ProviderBatches, batch: ProviderBatch): Promise<Brought | undefined> {
    const { goods, logger } = this.#options;
    try {
      const brought = await goods.readIn(buy, provider, batch);
      if (brought || this.#searchOf(buy).looks < MAX_LOOKS) return brought;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    logger.error({ id: batch.id, rows: buy.requests }, "results of a provider batch are gone");
    return goods.lose(buy);
  }

  /** The provider did not take it, or gave it up before it began; it costs nothing. */
  async #refused(buy: LaneBuy, { message, isFull }: { message: string; isFull: boolean }): Promise<void> {
    const { site, logger } = this.#options;
    const { key } = modelRef(buy.entry, buy.model);
    if (isFull) await site.full(buy, poolOf(message));
    else site.close(key, "its provider refused a batch");
    logger.warn(
      { model: key, rows: buy.requests, isFull },
      "a provider refused a batch; its rows go another way",
    );
    await site.end(buy, { isFull });
  }

  async #save(buy: LaneBuy, change: Partial<LaneBuy>): Promise<void> {
    Object.assign(buy, change);
    await saveBuy(this.#options.store, this.#options.batchId, buy);
  }
}

function markOf({ id, since, requests, after }: LaneBuy): BatchMark {
  return { buyId: id, since, requests, after };
}

/** How many tokens may wait, as OpenAI's refusals tell. */
function poolOf(message: string): number | undefined {
  const tokens = /limit: ([\d,]+) enqueued tokens/i.exec(message)?.[1];
  return tokens === undefined ? undefined : Number(tokens.replaceAll(",", ""));
}

function seenOf({ state, total, done, expiresAt }: ProviderBatch): NonNullable<LaneBuy["seen"]> {
  return { state, total, done, expiresAt };
}
