import { z } from "zod";

const usdPerMillion = z
  .number("must be a number of USD")
  .min(0, "must not be less than 0")
  .max(1e6, "must be at most 1000000");

const priceSchema = z.strictObject({
  inputPerMillion: usdPerMillion,
  cachedInputPerMillion: usdPerMillion.optional(),
  outputPerMillion: usdPerMillion,
});

/** USD per million tokens; prompt tokens read from a cache cost `inputPerMillion` unless they have their own price. */
type Price = z.infer<typeof priceSchema>;
/** Pattern of `entry:model` → price. */
export type Prices = Record<string, Price>;

/** `GLUELLM_PRICES`. */
export const pricesSchema = z.record(z.string(), priceSchema);
