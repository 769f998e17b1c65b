/** Tokens of an answer. What was read from a cache (`cached`) or written to one is part of `prompt`. */
export interface TokenUse {
  prompt: number;
  completion: number;
  total: number;
  cached: number;
  cacheWritten?: number;
  /** The provider did not report all of these: what was missing is a guess by the length of the texts. */
  estimated?: true;
}

interface UsageFields {
  prompt_tokens?: unknown;
  completion_tokens?: unknown;
  total_tokens?: unknown;
  estimated?: unknown;
  prompt_tokens_details?: { cached_tokens?: unknown; cache_write_tokens?: unknown } | null;
}

/** Reads the `usage` of a chat.completion; what is absent, or no whole number from 0, counts as 0. */
export function readTokenUse(usage: unknown): TokenUse {
  const fields = (usage ?? {}) as UsageFields;
  const [prompt, completion] = [toCount(fields.prompt_tokens), toCount(fields.completion_tokens)];
  const { cached_tokens, cache_write_tokens } = fields.prompt_tokens_details ?? {};
  const cacheWritten = toCount(cache_write_tokens);
  return {
    prompt,
    completion,
    total: toCount(fields.total_tokens) || prompt + completion,
    cached: toCount(cached_tokens),
    ...(cacheWritten > 0 && { cacheWritten }),
    ...(fields.estimated === true && { estimated: true }),
  };
}

function toCount(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
