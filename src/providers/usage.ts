import type { ChatCompletion } from "../shared/chat.ts";
import { WrittenNumber } from "../shared/exact-json.ts";
import { fieldsOf, isObject } from "../shared/json.ts";
import { readTokenUse, type TokenUse } from "../shared/token-use.ts";

type Fields = Record<string, unknown>;
type Usage = NonNullable<ChatCompletion["usage"]>;

const PROMPT = [
  "prompt_tokens",
  "promptTokenCount",
  "promptTokens",
  "prompt_eval_count",
  "inputTokens",
  "inputTokenCount",
];
const COMPLETION = [
  ...["completion_tokens", "output_tokens", "candidatesTokenCount", "completionTokens", "eval_count"],
  ...["outputTokens", "outputTokenCount"],
];
const TOTAL = ["total_tokens", "totalTokenCount", "totalTokens"];
const CACHED = [
  "cached_tokens",
  "cache_read_input_tokens",
  "prompt_cache_hit_tokens",
  "cachedContentTokenCount",
];
const CACHE_WRITTEN = ["cache_write_tokens", "cache_creation_input_tokens"];

/** What a call took, by the length of its texts. */
interface Guess {
  prompt: () => number;
  /** 0 for an answer without a text. */
  completion: () => number;
}

/**
 * Returns an answer's usage in OpenAI's words, in which prompt tokens include cache reads and writes; Anthropic counts them
 * apart. It is read wherever vendors write it, and in texts too; what nobody says is the guess, and marked.
 */
export function usageOf(body: Fields, choices: readonly Fields[], guess: Guess): Usage {
  const places = [
    body.usage,
    fieldsOf(body.x_groq).usage,
    ...choices.map(({ usage }) => usage),
    body.usageMetadata,
    body["amazon-bedrock-invocationMetrics"],
    body,
  ].filter(isObject);
  const details = places
    .flatMap((place) => [place.prompt_tokens_details, place.input_tokens_details])
    .filter(isObject);
  const cached = countIn([...details, ...places], CACHED) ?? 0;
  const written = countIn([...details, ...places], CACHE_WRITTEN) ?? 0;
  const total = countIn(places, TOTAL);
  const seen = {
    prompt: countIn(places, PROMPT) ?? inputOf(places),
    completion: countIn(places, COMPLETION),
  };
  const known = {
    prompt: seen.prompt ?? rest(total, seen.completion),
    completion: seen.completion ?? rest(total, seen.prompt),
  };
  const prompt = known.prompt ?? guess.prompt();
  const completion = known.completion ?? guess.completion();
  // Where there is no text, none may have been counted.
  const isGuess = known.prompt === undefined || (known.completion === undefined && completion > 0);
  const own = places.slice(0, -1).find((place) => Object.keys(place).length > 0);
  const { thinking_tokens, reasoning_tokens = thinking_tokens } = fieldsOf(own?.output_tokens_details);
  const thinking = count(reasoning_tokens);
  return {
    ...own,
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: Math.max(total ?? 0, prompt + completion),
    ...((cached > 0 || written > 0 || isObject(own?.prompt_tokens_details)) && {
      prompt_tokens_details: {
        ...fieldsOf(own?.prompt_tokens_details),
        cached_tokens: cached,
        ...(written > 0 && { cache_write_tokens: written }),
      },
    }),
    ...(thinking !== undefined && { completion_tokens_details: { reasoning_tokens: thinking } }),
    estimated: isGuess ? true : undefined,
  };
}

/** Returns the usage that an answer states, whatever else there is in it; undefined when it states none. */
export function statedUse(data: unknown): TokenUse | undefined {
  const body = fieldsOf(data);
  const choices = Array.isArray(body.choices) ? body.choices.filter(isObject) : [];
  const usage = usageOf(body, choices, { prompt: () => 0, completion: () => 0 });
  return usage.total_tokens > 0 ? readTokenUse(usage) : undefined;
}

/** Anthropic's words: what was read from the cache, or written to it, stands beside the other input. */
function inputOf(places: readonly Fields[]): number | undefined {
  const place = places.find(({ input_tokens: tokens }) => count(tokens) !== undefined);
  if (!place) return undefined;
  const parts = [place.input_tokens, place.cache_read_input_tokens, place.cache_creation_input_tokens];
  return parts.reduce<number>((sum, part) => sum + (count(part) ?? 0), 0) || undefined;
}

function rest(total: number | undefined, part: number | undefined): number | undefined {
  return total !== undefined && part !== undefined && total > part ? total - part : undefined;
}

/** Zeros say nothing: some servers write them for what they do not count. */
function countIn(places: readonly Fields[], names: readonly string[]): number | undefined {
  for (const place of places) {
    for (const name of names) {
      const found = count(place[name]);
      if (found) return found;
    }
  }
  return undefined;
}

function count(raw: unknown): number | undefined {
  const isNumeral = typeof raw === "string" && /^\s*\d+(\.\d+)?\s*$/.test(raw);
  const value = isNumeral || raw instanceof WrittenNumber ? Number(raw) : raw;
  if (typeof value !== "number" || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) return undefined;
  return Math.round(value);
}
