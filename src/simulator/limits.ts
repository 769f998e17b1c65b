import { z } from "zod";
import { type BucketReading, TokenBucket } from "./token-bucket.ts";

const rate = z.number().positive();

export const limitChangeSchema = z.strictObject({
  rpm: rate.nullish(),
  tpm: rate.nullish(),
  burstSeconds: rate.optional(),
});
/** Requests and tokens per minute, `null` for no limit; what is absent stays as it is. */
export type LimitChange = z.infer<typeof limitChangeSchema>;

export type LimitScope = "requests" | "tokens";

export interface LimitReadings {
  requests?: BucketReading;
  tokens?: BucketReading;
}

/** Why a request is not admitted: `waitMs` is Infinity when it never will be under these limits. */
export interface LimitRefusal {
  scope: LimitScope;
  requested: number;
  perMinute: number;
  capacity: number;
  waitMs: number;
}

type Buckets = { [scope in LimitScope]?: TokenBucket };

/** The live limits: one pair of token buckets for each API key and model, capacity = rate × burstSeconds. */
export class Limits {
  readonly #accounts = new Map<string, Buckets>();
  readonly #startFull: boolean;
  #perMinute: { [scope in LimitScope]: number | undefined };
  #burstSeconds: number;

  constructor({ rpm, tpm, burstSeconds = 1 }: LimitChange, startFull: boolean) {
    this.#perMinute = { requests: rpm ?? undefined, tokens: tpm ?? undefined };
    this.#burstSeconds = burstSeconds;
    this.#startFull = startFull;
  }

  change({ rpm, tpm, burstSeconds }: LimitChange, nowMs: number): void {
    if (rpm !== undefined) this.#perMinute.requests = rpm ?? undefined;
    if (tpm !== undefined) this.#perMinute.tokens = tpm ?? undefined;
    this.#burstSeconds = burstSeconds ?? this.#burstSeconds;
    for (const buckets of this.#accounts.values()) this.#fit(buckets, nowMs);
  }

  /** All buckets as at the start. */
  reset(): void {
    this.#accounts.clear();
  }

  /** The refusal of the bucket that must wait longest, or `undefined` when both hold enough. Takes nothing. */
  check(account: string, tokens: number, nowMs: number): LimitRefusal | undefined {
    const buckets = this.#buckets(account, nowMs);
    const refusals = [
      refusalOf("requests", buckets.requests, 1, nowMs),
      refusalOf("tokens", buckets.tokens, tokens, nowMs),
    ];
    return refusals.reduce((worst, next) => ((next?.waitMs ?? 0) > (worst?.waitMs ?? 0) ? next : worst));
  }

  /** Takes one request and `tokens`; `check` has just passed at the same instant. */
  charge(account: string, tokens: number, nowMs: number): void {
    const { requests, tokens: tokenBucket } = this.#buckets(account, nowMs);
    requests?.take(1, nowMs);
    tokenBucket?.take(tokens, nowMs);
  }

  read(account: string, nowMs: number): LimitReadings {
    const { requests, tokens } = this.#buckets(account, nowMs);
    return { requests: requests?.read(nowMs), tokens: tokens?.read(nowMs) };
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
    for (const scope of ["requests", "tokens"] as const) {
      const perMinute = this.#perMinute[scope];
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
