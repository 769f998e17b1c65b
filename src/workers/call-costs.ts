import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { EstimateCorrection } from "../limits/rate-limiter/estimate-correction.ts";
import { outputLimitOf } from "../providers/answer-length.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { costUsd, isPriced } from "../shared/cost.ts";
import { CostLimitError } from "../shared/errors.ts";
import { toDouble } from "../shared/exact-json.ts";
import type { Logger } from "../shared/logger.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { Settings } from "../shared/settings.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import type { TokenUse } from "../shared/token-use.ts";
import { CostWaitError } from "../shared/unsent-errors.ts";
import { usd } from "../shared/usd.ts";
import { openKeyLedgers } from "../store/api-key.ts";
import { type LedgerCall, openJobLedger, reserveCost, settleCost } from "../store/cost-ledger.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { Store } from "../store/store.ts";
import type { KnownTenants } from "../store/tenant.ts";

const POLL_MS = 500;
/** A row that would hold its place in this process for longer goes back. */
const MAX_WAIT_MS = 5000;
/** After the call's own time, for what else a worker does before and after it. */
const LIFE_MARGIN_MS = 30_000;

/** A limit that a call counts towards. */
export interface CostLimit {
  /** Redis key of the hash (see cost-ledger.ts). */
  ledger: string;
  /** What has it. */
  of: "batch" | "job" | "conversation" | "key" | "tenant";
  /** Of a tenant: its name. */
  name?: string;
  /** The day or month that it is for; absent: for all time. */
  period?: string;
}

interface CallCostsOptions {
  store: Store;
  settings: Pick<Settings, "prices">;
  logger: Logger;
}

/** A call under one or more cost limits. */
export interface LimitedCall {
  limits: readonly CostLimit[];
  jobId: string;
  model: ModelRef;
  request: ChatRequest;
  /** As the rate limiter reserves them; asked again while it waits, since answers that come meanwhile tell more. */
  estimate: () => TokenCounts;
  timeoutMs: number;
  /** Ends the wait; `hold` rejects then. */
  signal: AbortSignal;
}

/** What is held for a call. */
export interface Outlay {
  /** Ends the hold: with what the call cost, 0 when it was not made or refused; without it the estimate stands. */
  settle(use?: TokenUse | 0, priceShare?: number): Promise<void>;
}

/** What this process's calls cost, and what limits still allow. */
export class CallCosts {
  readonly #options: CallCostsOptions;
  readonly #unpriced = new Set<string>();
  readonly #correction = new EstimateCorrection();

  constructor(options: CallCostsOptions) {
    this.#options = options;
  }

  /**
   * USD of an answer; null when nobody knows, which is said once for each model.
   * @param priceShare what its lane costs of the price; default 1
   */
  of(model: ModelRef, use: TokenUse, priceShare = 1): number | null {
    const { settings, logger } = this.#options;
    const cost = costUsd(settings.prices, model, use);
    if (cost === null && !this.#unpriced.has(model.key) && !isPriced(settings.prices, model)) {
      this.#unpriced.add(model.key);
      logger.warn({ model: model.key }, "no price is known for this model; GLUELLM_PRICES sets one");
    }
    return cost === null ? null : cost * priceShare;
  }

  /**
   * Holds what the call may cost: its `max_tokens` whole where it has them, else about what the model's calls took.
   * @throws CostLimitError when more than a limit could be spent with it
   * @throws CostWaitError when calls under way hold the rest for some seconds, or this worker cannot price the model
   * @throws the reason of `signal`
   */
  async hold(call: LimitedCall): Promise<Outlay> {
    const { limits, jobId } = call;
    const callId = randomUUID();
    const held: LedgerCall[] = [];
    let heldUsd = 0;
    try {
      for (const limit of limits) {
        const entry = { ledger: limit.ledger, jobId, callId };
        heldUsd = await this.#reserve(call, limit, entry);
        held.push(entry);
      }
    } catch (error) {
      await this.#settle(held, 0);
      throw error;
    }
    return this.#outlay(call, held, heldUsd);
  }

  /** Returns what is held, in USD. */
  async #reserve(call: LimitedCall, limit: CostLimit, entry: LedgerCall): Promise<number> {
    const { store } = this.#options;
    const { model, timeoutMs, signal } = call;
    const lifeMs = timeoutMs + LIFE_MARGIN_MS;
    const waitUntilMs = performance.now() + MAX_WAIT_MS;
    for (;;) {
      const estimateUsd = this.of(model, tokenUse(this.#estimate(call)));
      if (estimateUsd === null) throw unpricedHere(model);
      const outcome = await reserveCost(store, entry, estimateUsd, lifeMs);
      if (outcome.kind === "reserved") return estimateUsd;
      if (outcome.kind === "over") throw limitReached(limit, estimateUsd, outcome);
      if (performance.now() > waitUntilMs) throw heldByOthers(limit);
      await delay(POLL_MS, undefined, { signal });
    }
  }

  #estimate({ model, request, estimate }: LimitedCall): TokenCounts {
    const { input, output } = this.#correction.correct(model.key, estimate());
    const limit = outputLimitOf(request);
    return { input, output: limit === undefined ? output : limit * (toDouble(request.n) ?? 1) };
  }

  #outlay({ model, ...call }: LimitedCall, held: readonly LedgerCall[], heldUsd: number): Outlay {
    const estimate = call.estimate();
    return {
      settle: async (use, priceShare) => {
        const cost = use === 0 ? 0 : ((use && this.of(model, use, priceShare)) ?? heldUsd);
        if (use && use.total > 0)
          this.#correction.settled(model.key, estimate, { input: use.prompt, output: use.completion });
        await this.#settle(held, cost);
      },
    };
  }

  async #settle(held: readonly LedgerCall[], cost: number): Promise<void> {
    const { store, logger } = this.#options;
    try {
      for (const entry of held) await untilTaken(logger, () => settleCost(store, entry, cost));
    } catch (error) {
      // The answer is worth more than the books: what was held counts as spent then.
      logger.warn({ err: error }, "a call's cost could not be settled");
    }
  }
}

/**
 * The limits that the job's calls count towards; a job's own begins here.
 * @param hasBatchLimit whether its batch has one
 */
export async function openCostLimits(
  { store, tenants }: { store: Store; tenants: KnownTenants },
  jobId: string,
  { batch, conversation, maxCostUsd, deadlineAt, by, tenant }: CompletionPayload,
  hasBatchLimit: boolean,
): Promise<CostLimit[]> {
  const limits: CostLimit[] = [];
  if (batch && hasBatchLimit) limits.push({ ledger: store.keys.batch(batch.id), of: "batch" });
  if (maxCostUsd !== undefined) {
    const ledger = await openJobLedger(store, jobId, { maxCostUsd, deadlineAt });
    limits.push({ ledger, of: "job" });
  }
  const talk = conversation && store.keys.conversation(conversation.id);
  if (talk && (await store.redis.hexists(talk, "maxCostUsd"))) {
    limits.push({ ledger: talk, of: "conversation" });
  }
  if (by)
    limits.push(...(await openKeyLedgers(store, by)).map((found) => ({ ...found, of: "key" as const })));
  const ofTenant = await tenants.ledgers(tenant);
  return [...limits, ...ofTenant.map((found) => ({ ...found, of: "tenant" as const, name: tenant }))];
}

function limitReached(
  { of, name = DEFAULT_TENANT, period }: CostLimit,
  estimateUsd: number,
  { spentUsd, maxCostUsd }: { spentUsd: number; maxCostUsd: number },
): CostLimitError {
  return new CostLimitError({
    message: `${usd(spentUsd)} of at most ${usd(maxCostUsd)} are spent${period ? ` in ${period}` : ""}, and the next call may cost ${usd(estimateUsd)}`,
    hint:
      of === "batch"
        ? "to go on, run the same command with a higher --max-cost"
        : of === "key"
          ? period
            ? `wait until ${period} is over by UTC, or take a key with a higher limit: gluellm keys create`
            : "take a key with a higher limit: gluellm keys create --max-usd"
          : of === "tenant"
            ? `wait until ${period} is over by UTC, or raise the limit of tenant ${name}: gluellm tenants set ${name} --max-usd-per-${period?.length === 7 ? "month" : "day"}`
            : `give the ${of} a higher maxCostUsd (--max-cost), or each answer fewer tokens`,
    context: { spentUsd, maxCostUsd },
  });
}

function tokenUse({ input, output }: TokenCounts): TokenUse {
  const [prompt, completion] = [Math.ceil(input), Math.ceil(output)];
  return { prompt, completion, total: prompt + completion, cached: 0 };
}

function unpricedHere({ key }: ModelRef): CostWaitError {
  return new CostWaitError({
    code: "unpriced_model",
    category: "configuration",
    message: `this worker has no price for ${key}, and there is a cost limit`,
    hint: "set GLUELLM_PRICES on the workers too",
    retryAfterMs: 5000,
  });
}

function heldByOthers({ of }: CostLimit): CostWaitError {
  return new CostWaitError({
    code: "cost_wait",
    category: "account",
    message: `calls under way hold what is left of the ${of}'s cost limit`,
    retryAfterMs: 1000,
  });
}
