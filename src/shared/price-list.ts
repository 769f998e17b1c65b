import { createRequire } from "node:module";
import type { ModelRef } from "./model-name.ts";

/** Loaded with the first price that is asked for: it is a large package, and many processes need no price. */
function loadList(): typeof import("@pydantic/genai-prices") {
  try {
    // A bundler puts the package here; an ES module has no `require`.
    return require("@pydantic/genai-prices");
  } catch {
    return createRequire(import.meta.url)("@pydantic/genai-prices");
  }
}
/** Our own simulator is on no list. */
const UNLISTED = "simulator";
/** What the price list calls the providers it knows by other names than ours. */
const LIST_NAMES: Record<string, string> = { xai: "x-ai" };
/** The list asks for about 80 µs per answer, and some prices change by the date or the time of day. */
const RATES_LIFE_MS = 60_000;

/** Tokens that are priced apart; `input` includes what was read from a cache and what was written to one. */
export interface PricedTokens {
  input: number;
  cached: number;
  cacheWritten: number;
  output: number;
}

/** USD of a call at a given size: `call`, and so much more for each token of a kind. */
interface Rates extends PricedTokens {
  call: number;
}

const known = new Map<string, { rates: Rates | null | "by size"; untilMs: number }>();

/** Returns whether the list has the model, with a price or without. */
export function isListed(model: ModelRef): boolean {
  return lookUp(model, { input: 1, cached: 0, cacheWritten: 0, output: 0 }) !== null;
}

/** Returns the names of the models that the list has of a provider entry, without those that are gone. */
export function listedModels(entry: string): string[] {
  const provider = loadList().findProvider({ providerId: LIST_NAMES[entry] ?? entry });
  return (provider?.models ?? []).filter(({ deprecated }) => !deprecated).map(({ id }) => `${entry}:${id}`);
}

/** USD by the list; null when it has no price of the model. */
export function listPriceUsd(model: ModelRef, tokens: PricedTokens): number | null {
  const rates = ratesOf(model);
  if (rates === "by size") return priceAt(model, tokens);
  if (rates === null) return null;
  const plain = tokens.input - tokens.cached - tokens.cacheWritten;
  const input = plain * rates.input + tokens.cached * rates.cached + tokens.cacheWritten * rates.cacheWritten;
  return rates.call + input + tokens.output * rates.output;
}

function ratesOf(model: ModelRef): Rates | null | "by size" {
  const stored = known.get(model.key);
  if (stored && stored.untilMs > performance.now()) return stored.rates;
  const rates = readRates(model);
  known.set(model.key, { rates, untilMs: performance.now() + RATES_LIFE_MS });
  return rates;
}

function readRates(model: ModelRef): Rates | null | "by size" {
  const none = { input: 0, cached: 0, cacheWritten: 0, output: 0 };
  const found = lookUp(model, none);
  if (!found || !hasPrice(found)) return null;
  if (Object.values(found.model_price).some((price) => typeof price === "object")) return "by size";
  const call = found.total_price;
  const per = (tokens: Partial<PricedTokens>) =>
    ((priceAt(model, { ...none, ...tokens }) ?? call) - call) / 1e6;
  return {
    call,
    input: per({ input: 1e6 }),
    cached: per({ input: 1e6, cached: 1e6 }),
    cacheWritten: per({ input: 1e6, cacheWritten: 1e6 }),
    output: per({ output: 1e6 }),
  };
}

function priceAt(model: ModelRef, tokens: PricedTokens): number | null {
  const found = lookUp(model, tokens);
  return found && hasPrice(found) ? found.total_price : null;
}

/** Models that are listed without a price would come out as free. */
function hasPrice({
  model_price: { input_mtok, output_mtok },
}: NonNullable<ReturnType<typeof lookUp>>): boolean {
  return input_mtok !== undefined || output_mtok !== undefined;
}

function lookUp({ entry, model }: ModelRef, { input, cached, cacheWritten, output }: PricedTokens) {
  if (entry === UNLISTED) return null;
  const usage = {
    input_tokens: input,
    cache_read_tokens: cached,
    cache_write_tokens: cacheWritten,
    output_tokens: output,
  };
  try {
    return loadList().calcPrice(usage, model, { providerId: LIST_NAMES[entry] ?? entry });
  } catch {
    // A list that cannot price this use must not cost a caller the answer that is paid for.
    return null;
  }
}
