import { z } from "zod";
import type { TokenCharge } from "./charge.ts";
import { type BucketReading, TokenBucket } from "./token-bucket.ts";

const rate = z.number().positive();

export const limitChangeSchema = z.strictObject({
  rpm: rate.nullish(),
  tpm: rate.nullish(),
  itpm: rate.nullish(),
  otpm: rate.nullish(),
  burstSeconds: rate.optional(),
});
/** New limits: requests, tokens, input and output tokens per minute, null for none; what is absent stays as it is. */
export type LimitChange = z.infer<typeof limitChangeSchema>;

/** What limits count, as Anthropic's headers name it. */
export const LIMIT_SCOPES = ["requests", "tokens", "input-tokens", "output-tokens"] as const;
export type LimitScope = (typeof LIMIT_SCOPES)[number];
const OPTION_OF = {
  requests: "rpm",
  tokens: "tpm",
  "input-tokens": "itpm",
  "output-tokens": "otpm",
} as const;

/** The states of the buckets, for the limits that are set. */
export type LimitReadings = { [scope in LimitScope]?: BucketReading };

/** The reason why a request is not admitted: `waitMs` is Infinity when it never will be under these limits. */
export interface LimitRefusal {
  scope: LimitScope;
  requested: number;
  perMinute: number;
  capacity: number;
  waitMs: number;
}

type Buckets = { [scope in LimitScope]?: TokenBucket };

/**
 * The live limits: for each API key and model one bucket for each limit that is set, capacity = rate × burstSeconds.
 * A call takes from all of them when it is admitted, its output tokens too (the simulator knows its answers
 * beforehand) unless these are charged when they are produced.
 */
export class Limits {
  readonly #accounts = new Map<string, Buckets>();
  readonly #startFull: boolean;
  #perMinute: { [scope in LimitScope]?: number | null } = {};
  #burstSeconds = 1;

  constructor(limits: LimitChange, startFull: boolean) {
    this.#startFull = startFull;
    this.change(limits, 0);
  }

  change(limits: LimitChange, nowMs: number): void {
    for (const scope of LIMIT_SCOPES) {
      const perMinute = limits[OPTION_OF[scope]];
      if (perMinute !== undefined) this.#perMinute[scope] = perMinute;
    }
    this.#burstSeconds = limits.burstSeconds ?? this.#burstSeconds;
    for (const buckets of this.#accounts.values()) this.#fit(buckets, nowMs);
  }

  /** Makes all buckets as at the start. */
  reset(): void {
    this.#accounts.clear();
  }

  /** Returns the refusal of the bucket that must wait longest; undefined when all hold enough. Takes nothing. */
  check(account: string, charge: TokenCharge, nowMs: number): LimitRefusal | undefined {
    const buckets = this.#buckets(account, nowMs);
    const amounts = amountsOf(charge);
    return LIMIT_SCOPES.map((scope) => refusalOf(scope, buckets[scope], amounts[scope], nowMs)).reduce(
      (worst, next) => ((next?.waitMs ?? 0) > (worst?.waitMs ?? 0) ? next : worst),
    );
  }

  /** Takes one request and its tokens; `check` has just passed at the same instant. */
  charge(account: string, charge: TokenCharge, nowMs: number): void {
    const buckets = this.#buckets(account, nowMs);
    const amounts = amountsOf(charge);
    for (const scope of LIMIT_SCOPES) buckets[scope]?.take(amounts[scope], nowMs);
  }

  /** Takes the output tokens of an answer that was admitted without them; what a bucket does not hold it owes. */
  chargeOutput(account: string, completionTokens: number, nowMs: number): void {
    const buckets = this.#buckets(account, nowMs);
    for (const scope of ["tokens", "output-tokens"] as const) buckets[scope]?.take(completionTokens, nowMs);
  }

  read(account: string, nowMs: number): LimitReadings {
    const buckets = this.#buckets(account, nowMs);
    return Object.fromEntries(LIMIT_SCOPES.map((scope) => [scope, buckets[scope]?.read(nowMs)]));
  }

  #buckets(account: string, nowMs: number): Buckets {
    const known = this.#accounts.get(account);
    if (known) return known;
    const buckets: Buckets = {};
    this.#fit(buckets, nowMs);
    this.#accounts.set(account, buckets);
    return buckets;
  }

  #fit(buckets: Buckets, nowMs: number): void {
    for (const scope of LIMIT_SCOPES) {
      const perMinute = this.#perMinute[scope] ?? undefined;
      if (perMinute === undefined) {
        delete buckets[scope];
        continue;
      }
      // A request bucket below 1 would never let anything through.
      const capacity = Math.max((perMinute / 60) * this.#burstSeconds, scope === "requests" ? 1 : 0);
      const bucket = buckets[scope];
      if (bucket) bucket.resize(perMinute, capacity, nowMs);
      else buckets[scope] = new TokenBucket(perMinute, capacity, nowMs, this.#startFull);
    }
  }
}

function amountsOf({ promptTokens, completionTokens }: TokenCharge): Record<LimitScope, number> {
  return {
    requests: 1,
    tokens: promptTokens + completionTokens,
    "input-tokens": promptTokens,
    "output-tokens": completionTokens,
  };
}

function refusalOf(
  scope: LimitScope,
  bucket: TokenBucket | undefined,
  requested: number,
  nowMs: number,
): LimitRefusal | undefined {
  const waitMs = bucket?.waitMs(requested, nowMs) ?? 0;
  if (!bucket || waitMs === 0) return undefined;
  return { scope, requested, perMinute: bucket.perMinute, capacity: bucket.capacity, waitMs };
}
