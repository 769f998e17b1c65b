import { z } from "zod";

const BUCKET_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const perMinute = z
  .number("must be a number")
  .positive("must be greater than 0")
  .max(1e12, "must be at most 1000000000000");

const budgetSchema = z.strictObject({
  rpm: perMinute.optional(),
  tpm: perMinute.optional(),
  itpm: perMinute.optional(),
  otpm: perMinute.optional(),
  maxInFlight: z
    .number("must be a number")
    .int("must be a whole number")
    .positive("must be greater than 0")
    .max(1_000_000, "must be at most 1000000")
    .optional(),
  burstSeconds: z
    .number("must be a number")
    .positive("must be greater than 0")
    .max(86_400, "must be at most 86400")
    .optional(),
  bucket: z.string().regex(BUCKET_NAME, "must be 1 to 64 letters, digits, - or _").optional(),
});

/**
 * What a provider allows one `entry:model`: requests, tokens (all, input, output) per minute; calls in flight;
 * the size of the provider's bucket in seconds of rate (default 1); and the name of a bucket, when several models
 * share one budget.
 */
export type Budget = z.infer<typeof budgetSchema>;
/** Pattern of `entry:model` → budget. */
export type Limits = Record<string, Budget>;

/** `GLUELLM_LIMITS`. Patterns that name the same bucket get the same budget: each may state a part of it. */
export const limitsSchema = z.record(z.string(), budgetSchema).transform((limits, context) => {
  const buckets: Record<string, Budget> = {};
  for (const [pattern, budget] of Object.entries(limits)) {
    if (!budget.bucket) continue;
    const shared = buckets[budget.bucket] ?? {};
    buckets[budget.bucket] = shared;
    for (const [name, value] of Object.entries(budget)) {
      const known = shared[name as keyof Budget];
      if (known !== undefined && known !== value) {
        const message = `bucket ${budget.bucket} already has ${name} ${known}, from another pattern; give it once`;
        context.addIssue({ code: "custom", path: [pattern, name], message });
      }
      Object.assign(shared, { [name]: value });
    }
  }
  const merge = ({ bucket, ...own }: Budget): Budget => (bucket ? { ...buckets[bucket], bucket } : own);
  return Object.fromEntries(Object.entries(limits).map(([pattern, budget]) => [pattern, merge(budget)]));
});

interface SimpleLimit {
  enabled: boolean | undefined;
  maxCalls: number | undefined;
  periodSeconds: number | undefined;
}

/**
 * `RATE_LIMIT_*`, the simple form: so many calls per period for each model that `GLUELLM_LIMITS` has no pattern
 * for (60 per 60 s where one of the two is given, or only `RATE_LIMIT_ENABLED=true`). False switches all budgets off.
 */
export function withSimpleLimit(limits: Limits, { enabled, maxCalls, periodSeconds }: SimpleLimit): Limits {
  if (enabled === false) return {};
  if (!enabled && maxCalls === undefined && periodSeconds === undefined) return limits;
  const burstSeconds = periodSeconds ?? 60;
  return { "*": { rpm: ((maxCalls ?? 60) * 60) / burstSeconds, burstSeconds }, ...limits };
}
