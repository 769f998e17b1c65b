import type { ChatCompletion, ChatRequest, Message } from "../shared/chat.ts";
import { toDouble } from "../shared/exact-json.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { type Redact, redacted, redactedJson } from "../shared/redact.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { SomeAttributes } from "./tracing.ts";

/*
 * The attributes of calls of models and tools: `llm.*` and `tool.*` of the Python GlueLLM, and OpenTelemetry's GenAI conventions
 * beside them, which are still in development: their names stand in this file alone.
 */

/** What the conventions call providers otherwise than we do. */
const PROVIDER_NAMES: Readonly<Record<string, string>> = {
  xai: "x_ai",
  google: "gcp.gemini",
  mistral: "mistral_ai",
  azure: "azure.ai.openai",
  moonshot: "moonshot_ai",
};

const MAX_CONTENT_CHARS = 64 * 1024;

/** A call of a model, as it is asked. */
export interface AskedCall {
  /** The provider entry's name; with `baseUrl` the server is told. */
  provider: Pick<ProviderEntry, "name"> & Partial<Pick<ProviderEntry, "baseUrl">>;
  model: string;
  request: Pick<ChatRequest, "messages"> & Partial<ChatRequest>;
  isStreamed?: boolean;
  conversation?: string | undefined;
}

/** Returns what is known of a call before it is sent; with `hasContent` its messages too. */
export function requestAttributes(call: AskedCall, hasContent: boolean): SomeAttributes {
  const { provider, model, request, isStreamed, conversation } = call;
  const tools = Array.isArray(request.tools) ? request.tools : [];
  const n = toDouble(request.n);
  return {
    "llm.provider": provider.name,
    "llm.model": model,
    "llm.messages_count": request.messages.length,
    "llm.tools_available": tools.length,
    "gen_ai.operation.name": operationOf(request),
    "gen_ai.provider.name": PROVIDER_NAMES[provider.name] ?? provider.name,
    "gen_ai.request.model": model,
    "gen_ai.request.max_tokens": toDouble(request.max_completion_tokens ?? request.max_tokens),
    "gen_ai.request.temperature": toDouble(request.temperature),
    "gen_ai.request.top_p": toDouble(request.top_p),
    "gen_ai.request.seed": typeof request.seed === "number" ? request.seed : undefined,
    "gen_ai.request.choice.count": n !== undefined && n > 1 ? n : undefined,
    "gen_ai.request.stream": isStreamed ? true : undefined,
    "gen_ai.request.reasoning.level":
      typeof request.reasoning_effort === "string" ? request.reasoning_effort : undefined,
    "gen_ai.output.type": request.response_format ? "json" : request.embedding ? undefined : "text",
    "gen_ai.conversation.id": conversation,
    ...serverOf(provider.baseUrl),
    "mlflow.spanType": request.embedding ? "EMBEDDING" : "CHAT_MODEL",
    ...(hasContent && contentOfRequest(request.messages, tools)),
  };
}

/** Returns the name of a call's span: `chat gpt-4o-mini`. */
export function callName({ model, request }: AskedCall): string {
  return `${operationOf(request)} ${model}`;
}

function operationOf({ embedding }: Partial<ChatRequest>): string {
  return embedding ? "embeddings" : "chat";
}

function serverOf(baseUrl: string | undefined): SomeAttributes {
  if (!baseUrl || !URL.canParse(baseUrl)) return {};
  const { hostname, port, protocol } = new URL(baseUrl);
  return { "server.address": hostname, "server.port": Number(port) || (protocol === "http:" ? 80 : 443) };
}

/** An answer, as its provider gave it. */
export interface AnsweredCall {
  body: ChatCompletion;
  tokens: TokenUse;
  costUsd: number | null;
  statusCode?: number;
  requestId?: string;
}

/** Returns what an answer tells; with `hasContent` its texts too. */
export function answerAttributes(call: AnsweredCall, hasContent: boolean): SomeAttributes {
  const { body, tokens, costUsd, statusCode, requestId } = call;
  const { choices } = body;
  const reasoning = Object(Object(body.usage).completion_tokens_details).reasoning_tokens as unknown;
  return {
    "llm.tokens.prompt": tokens.prompt,
    "llm.tokens.completion": tokens.completion,
    "llm.tokens.total": tokens.total,
    "llm.cost.usd": costUsd ?? undefined,
    "llm.response.finish_reason": choices[0]?.finish_reason,
    "llm.response.has_tool_calls": (choices[0]?.message.tool_calls?.length ?? 0) > 0,
    "gen_ai.response.id": body.id || undefined,
    "gen_ai.response.model": body.model || undefined,
    "gen_ai.response.finish_reasons": choices.map(({ finish_reason }) => finish_reason),
    "gen_ai.usage.input_tokens": tokens.prompt,
    "gen_ai.usage.output_tokens": tokens.completion,
    "gen_ai.usage.cache_read.input_tokens": tokens.cached || undefined,
    "gen_ai.usage.cache_write.input_tokens": tokens.cacheWritten,
    "gen_ai.usage.reasoning.output_tokens": typeof reasoning === "number" ? reasoning : undefined,
    "http.response.status_code": statusCode,
    "gluellm.provider_request.id": requestId || undefined,
    ...(hasContent && contentOfAnswer(body)),
  };
}

/** A call of a tool. */
export interface ToolCallStart {
  name: string;
  callId: string;
  /** Parsed; not an object where they are not JSON. */
  args: unknown;
}

/** Returns what is known of a tool call before it runs; with `hasContent` its arguments too. */
export function toolAttributes({ name, callId, args }: ToolCallStart, hasContent: boolean): SomeAttributes {
  const content = hasContent ? textOf(args) : undefined;
  return {
    "tool.name": name,
    "tool.arg_count": args !== null && typeof args === "object" ? Object.keys(args).length : 0,
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": name,
    "gen_ai.tool.call.id": callId,
    "gen_ai.tool.type": "function",
    "mlflow.spanType": "TOOL",
    ...(content !== undefined && { "gen_ai.tool.call.arguments": content, "mlflow.spanInputs": content }),
  };
}

/** Returns what came of a tool call; with `hasContent` its result too. */
export function toolEndAttributes(
  { result, error }: { result?: string; error?: { code: string } },
  hasContent: boolean,
): SomeAttributes {
  const content = hasContent && result !== undefined ? textOf(result) : undefined;
  return {
    "tool.success": error === undefined,
    "tool.error": error?.code,
    ...(content !== undefined && { "gen_ai.tool.call.result": content, "mlflow.spanOutputs": content }),
  };
}

function contentOfRequest(messages: readonly Message[], tools: readonly unknown[]): SomeAttributes {
  const isSystem = ({ role }: Message) => role === "system" || role === "developer";
  const system = messages.filter(isSystem);
  const others = textOf(messages.filter((message) => !isSystem(message)));
  return {
    "gen_ai.input.messages": others,
    "gen_ai.system_instructions": system.length > 0 ? textOf(system) : undefined,
    "gen_ai.tool.definitions": tools.length > 0 ? textOf(tools) : undefined,
    "mlflow.spanInputs": textOf(messages),
  };
}

function contentOfAnswer({ choices }: ChatCompletion): SomeAttributes {
  const messages = textOf(choices.map(({ message }) => message));
  return { "gen_ai.output.messages": messages, "mlflow.spanOutputs": messages };
}

let redact: Redact | undefined;

/** Says what texts of contents pass before they are part of a span; undefined: they are as they are. */
export function redactContent(by: Redact | undefined): void {
  redact = by;
}

function textOf(value: unknown): string {
  const more = MAX_CONTENT_CHARS + 1;
  const text = typeof value === "string" ? redacted(value, redact, more) : redactedJson(value, redact, more);
  return text.length > MAX_CONTENT_CHARS ? `${text.slice(0, MAX_CONTENT_CHARS)}…` : text;
}
