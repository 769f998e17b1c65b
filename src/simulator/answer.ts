import { sha256 } from "../shared/digest.ts";
import type { Call, Tool } from "./call.ts";
import { type AnswerScript, type Directive, readDirective } from "./directive.ts";
import type { FaultKind } from "./faults.ts";
import { madeUpText } from "./made-up-text.ts";
import { instanceOf } from "./schema-instance.ts";
import { textOfTokens, tokensOf } from "./token-count.ts";

/** A call of a tool in an answer. */
export interface ToolCall {
  /** Hex digits; the dialect puts its prefix before it. */
  id: string;
  /** The whole id where the `#sim` line names one. */
  ownId: string | undefined;
  name: string;
  /** The arguments as JSON, unless a `#sim` line wants it otherwise. */
  argumentsText: string;
}

/** An answer before a dialect puts it into words. */
export interface SimulatedAnswer {
  text: string;
  toolCalls: readonly ToolCall[];
  finish: "stop" | "length" | "tool_call" | "content_filter";
  /** Tokens of all choices together. */
  completionTokens: number;
  /** Time to answer that the request's own `#sim` line sets; undefined: the simulator's. */
  latencyMs: number | undefined;
  /** A fault that comes in place of the answer, the first `times` times the request is admitted. */
  error: { kind: FaultKind; times: number } | undefined;
}

/** What is said before ids, lengths and limits are settled. */
interface Content {
  text: string;
  calls?: readonly { name: string; arguments: unknown; id?: string | undefined }[];
  tokens?: number;
}

const QUOTED_CHARS = 200;

/**
 * Returns the answer to a request, a function of its content alone: same request, same answer and same usage.
 * @param contentHash hex SHA-256 of the request
 * @param script answers a request without a `#sim` line
 * @throws InvalidCallError for a `#sim` line that cannot be used
 */
export function answerTo(call: Call, contentHash: string, script?: AnswerScript): SimulatedAnswer {
  const directive: Directive = call.directiveText ? readDirective(call) : (script?.(call) ?? {});
  const { text, calls = [], tokens } = contentOf(call, contentHash, directive);
  const toolCalls = calls.map((one, index) => toolCallOf(one, contentHash, index));
  const full = directive.tokens ?? tokens ?? tokensIn(text, toolCalls);
  const limit =
    toolCalls.length > 0 ? Number.POSITIVE_INFINITY : (call.maxTokens ?? Number.POSITIVE_INFINITY);
  const cut = full > limit;
  return {
    text: cut ? textOfTokens(text, limit) : text,
    toolCalls,
    finish: directive.finish ?? (toolCalls.length > 0 ? "tool_call" : cut ? "length" : "stop"),
    completionTokens: Math.min(full, limit) * call.choices,
    latencyMs: directive.latencyMs,
    error: directive.error && {
      kind: directive.error,
      times: directive.errorTimes ?? Number.POSITIVE_INFINITY,
    },
  };
}

/** Returns what the `#sim` line says; where it says nothing, what the request demands. */
function contentOf(call: Call, contentHash: string, directive: Directive): Content {
  const { reply, json, toolCalls, callTools } = directive;
  const { tools, forcedTool, answerSchema, toolResults } = call;
  if (call.embeddings) return { text: "", tokens: 0 };
  if (toolCalls) return { text: reply ?? "", calls: toolCalls };
  if (callTools && tools.length > 0 && toolResults.length === 0) {
    return { text: "", calls: tools.map(instanceCall) };
  }
  if (json !== undefined && forcedTool) {
    return { text: "", calls: [{ name: forcedTool.name, arguments: json }] };
  }
  if (json !== undefined || reply !== undefined) return { text: reply ?? JSON.stringify(json) };
  if (forcedTool) return { text: "", calls: [instanceCall(forcedTool)] };
  if (answerSchema !== undefined) return { text: JSON.stringify(instanceOf(answerSchema)) };
  if (callTools && toolResults.length > 0) return { text: quoted(toolResults) };
  return madeUpText(call.lastUserText, contentHash, directive.tokens);
}

function instanceCall({ name, schema }: Tool) {
  return { name, arguments: instanceOf(schema) };
}

function quoted(toolResults: readonly string[]): string {
  const quotes = toolResults.map((result) => `"${result.slice(0, QUOTED_CHARS).toWellFormed()}"`);
  return `[simulated] The tools say ${quotes.join(" and ")}.`;
}

/** Returns a tool call whose id differs within an answer, and from turn to turn as the requests do. */
function toolCallOf(
  call: NonNullable<Content["calls"]>[number],
  contentHash: string,
  index: number,
): ToolCall {
  const { name, arguments: args, id: ownId } = call;
  const argumentsText = typeof args === "string" ? args : JSON.stringify(args);
  return { id: sha256(`${contentHash}:${index}`).slice(0, 24), ownId, name, argumentsText };
}

function tokensIn(text: string, toolCalls: readonly ToolCall[]): number {
  const chars = toolCalls.reduce((sum, call) => sum + call.name.length + call.argumentsText.length, 0);
  return tokensOf(text.length + chars);
}
