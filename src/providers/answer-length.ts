import type { ChatRequest } from "../shared/chat.ts";
import { toDouble } from "../shared/exact-json.ts";
import type { Dialect } from "../shared/providers.ts";

/** Anthropic requires a limit; this one holds where the request names none. */
export const ANTHROPIC_DEFAULT = 4096;
/** What an answer can have at most, by the model's name: https://docs.anthropic.com/en/docs/about-claude/models. */
const LONGEST: readonly (readonly [RegExp, number])[] = [
  [/claude-3-(haiku|opus|sonnet)/, 4096],
  [/claude-3-5/, 8192],
  [/claude/, 32_000],
];

/** Returns the most tokens that a request allows its answer; undefined when it names no limit. */
export function outputLimitOf(request: ChatRequest): number | undefined {
  const { max_tokens, max_completion_tokens, responses } = request;
  const limit = responses ? responses.max_output_tokens : (max_completion_tokens ?? max_tokens);
  return toDouble(limit as typeof max_tokens);
}

/** Returns the most tokens of an answer whose request names no limit; undefined where that is the model's own limit. */
export function defaultLimit(dialect: Dialect | undefined): number | undefined {
  return dialect === "anthropic" ? ANTHROPIC_DEFAULT : undefined;
}

/** Returns the most tokens that the model can answer with, where that is known and more than the default. */
export function longestAnswer(dialect: Dialect | undefined, model: string): number | undefined {
  const usual = defaultLimit(dialect);
  const [, longest = 0] = LONGEST.find(([name]) => name.test(model)) ?? [];
  return usual !== undefined && longest > usual ? longest : undefined;
}
