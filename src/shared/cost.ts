import type { ModelRef } from "./model-name.ts";
import { ofModel } from "./model-pattern.ts";
import { listPriceUsd } from "./price-list.ts";
import type { Prices } from "./prices-setting.ts";
import type { TokenUse } from "./token-use.ts";

/**
 * USD of a call, by `GLUELLM_PRICES`, else by the price list of the model's provider; null when neither knows the
 * model, or the answer did not say what it used.
 */
export function costUsd(prices: Readonly<Prices>, model: ModelRef, use: TokenUse): number | null {
  const { prompt, completion, total } = use;
  if (total === 0) return null;
  // Some providers count what a model thought in the total alone, and charge it as output.
  const output = Math.max(completion, total - prompt);
  const cached = Math.min(use.cached, prompt);
  const cacheWritten = Math.min(use.cacheWritten ?? 0, prompt - cached);
  const own = ofModel(prices, model.key);
  if (!own) return listPriceUsd(model, { input: prompt, cached, cacheWritten, output });
  const { inputPerMillion, cachedInputPerMillion = inputPerMillion, outputPerMillion } = own;
  const input = (prompt - cached) * inputPerMillion + cached * cachedInputPerMillion;
  return (input + output * outputPerMillion) / 1e6;
}

/** What providers' batches, and calls in the tier flex, cost of the price of a call. */
export const LANE_PRICE_SHARE = 0.5;

/** Returns whether calls to the model can be priced. */
export function isPriced(prices: Readonly<Prices>, model: ModelRef): boolean {
  return costUsd(prices, model, { prompt: 1, completion: 1, total: 2, cached: 0 }) !== null;
}
