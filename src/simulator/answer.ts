import type { Call } from "./call.ts";
import { readDirective } from "./directive.ts";
import { shareOf } from "./request-hash.ts";
import { instanceOf } from "./schema-instance.ts";
import { textOfTokens, tokensOf } from "./token-count.ts";

export interface Answer {
  text: string;
  toolCall: { id: string; name: string; arguments: unknown } | undefined;
  finish: "stop" | "length" | "tool_call";
  /** Of all choices together. */
  completionTokens: number;
  /** Set by the request's own `#sim` line. */
  latencyMs: number | undefined;
}

const MEDIAN_TOKENS = 50;
const SPREAD = 0.45;
const FILLER = "This sentence was made up by the provider simulator and answers nothing. ";

/**
 * The answer to a request, a function of its content alone: same request, same answer and same usage.
 * Free text starts with `[simulated] `; its length is log-normal around 50 tokens, between 20 and 120.
 * @param contentHash hex SHA-256 of the request
 * @throws InvalidCallError for a `#sim` line that cannot be used
 */
export function answerTo(call: Call, contentHash: string): Answer {
  const directive = readDirective(call.lastUserText);
  const toolCall = call.forcedTool && {
    id: contentHash.slice(0, 24),
    name: call.forcedTool.name,
    arguments: instanceOf(call.forcedTool.schema),
  };
  const full = toolCall
    ? { text: "", tokens: tokensOfCall(toolCall) }
    : fullText(call, contentHash, directive);
  const limit = toolCall ? Number.POSITIVE_INFINITY : (call.maxTokens ?? Number.POSITIVE_INFINITY);
  const cut = full.tokens > limit;
  return {
    text: cut ? textOfTokens(full.text, limit) : full.text,
    toolCall,
    finish: toolCall ? "tool_call" : cut ? "length" : "stop",
    completionTokens: Math.min(full.tokens, limit) * call.choices,
    latencyMs: directive.latencyMs,
  };
}

function fullText(call: Call, contentHash: string, directive: ReturnType<typeof readDirective>) {
  const text =
    directive.reply ??
    (call.answerSchema !== undefined ? JSON.stringify(instanceOf(call.answerSchema)) : undefined);
  if (text !== undefined) return { text, tokens: directive.tokens ?? tokensOf(text.length) };
  const tokens = directive.tokens ?? lengthInTokens(contentHash);
  const opening = `[simulated] Answer ${contentHash.slice(0, 8)} to a message of ${wordsIn(call.lastUserText)} words. `;
  const missing = Math.max(0, tokens * 4 - opening.length);
  return { text: textOfTokens(opening + FILLER.repeat(Math.ceil(missing / FILLER.length)), tokens), tokens };
}

/** Log-normal by the Box–Muller transform, from bits of the request's hash. */
function lengthInTokens(contentHash: string): number {
  const radius = Math.sqrt(-2 * Math.log(1 - shareOf(contentHash, 8)));
  const normal = radius * Math.cos(2 * Math.PI * shareOf(contentHash, 20));
  return Math.round(Math.min(120, Math.max(20, MEDIAN_TOKENS * Math.exp(SPREAD * normal))));
}

function tokensOfCall({ name, arguments: args }: { name: string; arguments: unknown }): number {
  return tokensOf(name.length + JSON.stringify(args).length);
}

function wordsIn(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}
