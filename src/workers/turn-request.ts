import { type CompletionPayload, DEFAULT_MAX_TOOL_ITERATIONS } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import type { OutputMode } from "../shared/output-spec.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import type { ToolExecution } from "../shared/records.ts";
import { thinks } from "../shared/wire-options.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { withNamedTools } from "./conversation.ts";
import { requestOutput } from "./output/request-output.ts";

/** What a job brought so far. */
export interface Progress {
  calls: FinishedCall[];
  executions: ToolExecution[];
  toolIterations: number;
  /** How many of them came before the present agent's turn. */
  earlierIterations: number;
  repairs: number;
  /** The limit of the answers from now on, where the request has none and one was cut off. */
  maxTokens?: number;
  output?: { value: unknown };
}

/** Whether the model has called tools as often as it may. */
export function mustAnswer(
  { maxToolIterations }: Pick<CompletionPayload, "maxToolIterations">,
  { toolIterations, earlierIterations }: Progress,
): boolean {
  return toolIterations - earlierIterations >= (maxToolIterations ?? DEFAULT_MAX_TOOL_ITERATIONS);
}

/** The request of one turn, and how its structured answer is to be read. */
export interface Asked {
  request: ChatRequest;
  mode?: OutputMode;
}

/** Returns what one turn asks. */
export function turnRequest(
  entry: ProviderEntry,
  request: ChatRequest,
  payload: CompletionPayload,
  progress: Progress,
): Asked {
  const { output } = payload;
  const isLast = mustAnswer(payload, progress);
  // Without tools at all the calls in the messages would have nothing to refer to.
  const bounded = {
    ...request,
    ...(isLast && { tool_choice: "none" }),
    ...(progress.maxTokens && { max_tokens: progress.maxTokens }),
  };
  if (!output) return { request: withNamedTools(bounded) };
  const asked = requestOutput(entry, bounded, output);
  // A model that thinks cannot be forced to call a tool: Anthropic refuses that.
  if (asked.mode === "tool" && thinks(entry, payload.wire))
    return { ...asked, request: { ...asked.request, tool_choice: "auto" } };
  // Of a tool that must be called, and the answer, which is one too, the tool comes first.
  if (!isLast && asked.mode === "tool" && typeof bounded.tool_choice === "object")
    return { ...asked, request: { ...asked.request, tool_choice: bounded.tool_choice } };
  if (!isLast || asked.mode !== "tool") return { ...asked, request: withNamedTools(asked.request) };
  const answerTool = { type: "function", function: { name: output.name } };
  return { ...asked, request: { ...asked.request, tool_choice: answerTool } };
}
