import { isUnknown } from "../../providers/batches/exchange.ts";
import {
  batchCall,
  type ProviderBatch,
  type ProviderBatches,
} from "../../providers/batches/provider-batches.ts";
import type { LLMError } from "../../shared/errors.ts";
import type { Logger } from "../../shared/logger.ts";
import { modelRef } from "../../shared/model-name.ts";
import type { Lease } from "../../store/batch-lease.ts";
import { type LaneBuy, saveBuy } from "../../store/lane-buy.ts";
import { noteDuration } from "../../store/lane-durations.ts";
import type { LaneRequests } from "./lane-requests.ts";
import { customIdOf, type LaneResults, type LaneResultsOptions } from "./lane-results.ts";
import type { LaneRows } from "./lane-rows.ts";

/** A list may lag behind: only after so long is a batch that it does not name taken for never made. */
const LIST_LAG_MS = 120_000;
/** How often a provider is asked at the most whether a batch that was cancelled has ended. */
const CANCEL_POLL_MS = 5000;

/** What a buy's steps need to know of all others, and tell them. */
interface LaneSite {
  /** Whether rows of the model may still be bought in batches. */
  wants(modelKey: string): boolean;
  /** Whether the rows left have to go online. */
  isLate(): boolean;
  buysUnknown: boolean;
  /** The provider's names of the batches that are known. */
  knownIds(): ReadonlySet<string | undefined>;
  /** The provider has no room: smaller groups, later. */
  full(): void;
  /** The provider takes no batches of the model, for the reason given. */
  close(modelKey: string, reason: string): void;
  /** The buy is over; its rows but the recorded ones are free. */
  end(buy: LaneBuy, brought?: { recorded: ReadonlySet<string>; paidUsd: number }): Promise<void>;
  wake(): void;
}

interface LaneLadderOptions extends LaneResultsOptions {
  logger: Logger;
  lease: Lease;
  rows: LaneRows;
  requests: LaneRequests;
  results: LaneResults;
  site: LaneSite;
}

/**
 * The steps of a buy: taken → uploaded → asked for → made → ended → read in. Each is written down before the next one begins, so
 * that whoever goes on after a crash knows what may have been paid.
 */
export class LaneLadder {
  readonly #options: LaneLadderOptions;

  constructor(options: LaneLadderOptions) {
    this.#options = options;
  }

  /** Does the next step of a buy; returns how long to wait until the one after, in milliseconds. */
  async step(buy: LaneBuy): Promise<number> {
    const { site } = this.#options;
    if (buy.state === "created") return this.#look(buy);
    if (buy.state === "creating") return this.#findUnknown(buy);
    // Nothing was asked for yet: where its time has passed, its rows go another way.
    const isGone = buy.cancelledAt !== undefined || !site.wants(modelRef(buy.entry, buy.model).key);
    if (isGone) await site.end(buy);
    else await this.#create(buy);
    return 0;
  }

  async #create(buy: LaneBuy): Promise<void> {
    const { rows, requests, site } = this.#options;
    const provider = requests.providerOf(buy.entry);
    const model = modelRef(buy.entry, buy.model);
    const made: { customId: string; body: object }[] = [];
    for (const { row } of rows.of(buy)) {
      const request = await requests.of(model, row);
      if (request) made.push({ customId: customIdOf(buy, row), body: request.body });
    }
    if (made.length === 0) return site.end(buy);
    const file = await provider.upload?.(made, buy.endpoint);
    // Another process may have gone on with the batch while this one stood still.
    await this.#options.lease.confirm();
    await this.#save(buy, { state: "creating", file, requests: made.length, since: Date.now() });
    const mark = { buyId: buy.id, since: buy.since, requests: made.length };
    const input = { requests: made, ...(file !== undefined && { file }) };
    try {
      await this.#adopt(buy, await provider.create(mark, buy.endpoint, input));
    } catch (error) {
      if (isUnknown(error)) {
        await this.#save(buy, { unknownSince: Date.now() });
        throw error;
      }
      const { status, message } = error as LLMError;
      await this.#refused(buy, message, status === 429);
    }
  }

  async #adopt(buy: LaneBuy, made: ProviderBatch): Promise<void> {
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
    const { settings, requests, site, logger } = this.#options;
    const provider = requests.providerOf(buy.entry);
    if (buy.unknownSince === undefined) await this.#save(buy, { unknownSince: Date.now() });
    const mark = { buyId: buy.id, since: buy.since, requests: buy.requests };
    const { batches, isSure } = await provider.find(mark, buy.file);
    const known = site.knownIds();
    const others = batches.filter(({ id }) => !known.has(id));
    const found = isSure ? others[0] : await this.#firstOf(buy, provider, others);
    if (found) {
      await this.#adopt(buy, found);
      return 0;
    }
    const mayBeOne = others.some(({ state }) => state === "in_progress" || state === "cancelling");
    const waitedMs = Date.now() - (buy.unknownSince ?? Date.now());
    if (!mayBeOne && waitedMs >= Math.min(LIST_LAG_MS, settings.lanePollMs * 4)) {
      // The provider has no batch that could be this one: it was never made.
      await this.#save(buy, { state: "intended", unknownSince: undefined });
      return 0;
    }
    if (site.buysUnknown && site.isLate()) {
      logger.warn({ buy: buy.id, rows: buy.requests }, "rows of an unknown provider batch are bought online");
      await site.end(buy);
    }
    return settings.lanePollMs;
  }

  /** Where a batch carries no mark, its results alone name its requests. */
  async #firstOf(
    buy: LaneBuy,
    provider: ProviderBatches,
    batches: readonly ProviderBatch[],
  ): Promise<ProviderBatch | undefined> {
    const own = new Set(this.#options.rows.of(buy).map(({ row }) => customIdOf(buy, row)));
    const any = batchCall(modelRef(buy.entry, buy.model), { request: { messages: [] } });
    for (const batch of batches.filter(({ state }) => state === "ended"))
      for await (const { customId } of provider.results(batch, () => any)) {
        if (own.has(customId)) return batch;
        break;
      }
    return undefined;
  }

  async #look(buy: LaneBuy): Promise<number> {
    const { settings, store, requests, results, site } = this.#options;
    const provider = requests.providerOf(buy.entry);
    const id = buy.batchId ?? "";
    if (site.isLate()) buy.cancelledAt ??= Date.now();
    let batch = await provider.get(id);
    if (batch.state === "in_progress" && buy.cancelledAt !== undefined) {
      await provider.cancel(id);
      batch = await provider.get(id);
    }
    await this.#save(buy, { seen: seenOf(batch) });
    site.wake();
    if (batch.state === "failed") {
      const { code, message = "the batch failed" } = batch.failure ?? {};
      await this.#refused(buy, message, code === "token_limit_exceeded");
      return 0;
    }
    const pollMs = settings.lanePollMs;
    if (batch.state !== "ended")
      return buy.cancelledAt === undefined ? pollMs : Math.min(pollMs, CANCEL_POLL_MS);
    const brought = await results.readIn(buy, provider, batch);
    if (batch.endedAt && buy.cancelledAt === undefined) {
      const { key } = modelRef(buy.entry, buy.model);
      await noteDuration(store, key, batch.endedAt - batch.createdAt);
    }
    await site.end(buy, brought);
    return 0;
  }

  /** The provider did not take it, or gave it up before it began; it costs nothing. */
  async #refused(buy: LaneBuy, reason: string, isFull: boolean): Promise<void> {
    const { site, logger } = this.#options;
    const { key } = modelRef(buy.entry, buy.model);
    if (isFull) site.full();
    else site.close(key, reason);
    logger.warn(
      { model: key, rows: buy.requests, isFull },
      "a provider refused a batch; its rows go another way",
    );
    await site.end(buy);
  }

  async #save(buy: LaneBuy, change: Partial<LaneBuy>): Promise<void> {
    Object.assign(buy, change);
    await saveBuy(this.#options.store, this.#options.batchId, buy);
  }
}

function seenOf({ state, total, done, expiresAt }: ProviderBatch): NonNullable<LaneBuy["seen"]> {
  return { state, total, done, expiresAt };
}
