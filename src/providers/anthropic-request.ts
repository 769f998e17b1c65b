import type {
  MessageCreateParamsNonStreaming,
  OutputConfig,
  Tool,
  ToolChoice,
} from "@anthropic-ai/sdk/resources/messages/messages";
import { z } from "zod";
import type { ChatRequest } from "../shared/chat.ts";
import { toDouble, WrittenNumber } from "../shared/exact-json.ts";
import { fieldsOf } from "../shared/json.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { ANTHROPIC_DEFAULT, outputLimitOf } from "./answer-length.ts";
import { toHistory } from "./anthropic-messages.ts";
import { cacheControlOf } from "./anthropic-parts.ts";

import type { ModelTraits } from "./model-traits.ts";
import { cannotHonour } from "./unsupported.ts";

/** The last version that knows `temperature` and `top_p`; the next one answers them with 400. */
const SAMPLING_VERSION = "2023-06-01";
export const CURRENT_VERSION = "2026-10-21";

/** A Messages request; the sampling parameters are no longer part of the SDK's type. */
type MessagesRequest = MessageCreateParamsNonStreaming & {
  temperature?: number | WrittenNumber;
  top_p?: number | WrittenNumber;
};
type Fields = Record<string, unknown>;

/** A call in the words of Messages. */
export interface MessagesCall {
  entry: ProviderEntry;
  model: string;
  request: ChatRequest;
  /** Fields of the body in the provider's own words; `betas` go into a header. */
  providerOptions?: Fields | undefined;
}

const EFFORTS = ["low", "medium", "high", "xhigh", "max"] as const;

const toolSchema = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: z.string(),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});
const namedChoiceSchema = z.object({
  type: z.literal("function"),
  function: z.object({ name: z.string() }),
});
const formatSchema = z.object({
  type: z.literal("json_schema"),
  json_schema: z.looseObject({ schema: z.record(z.string(), z.unknown()) }),
});

/** The parameters that the translation below reads. */
const TRANSLATED = new Set([
  "messages",
  "max_tokens",
  "max_completion_tokens",
  "temperature",
  "top_p",
  "stop",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
  "response_format",
  "reasoning_effort",
  "user",
]);
/** The values that ask for nothing, of parameters that have no counterpart. */
const NEUTRAL: Record<string, readonly unknown[]> = {
  n: [1],
  stream: [false],
  store: [false],
  logprobs: [false],
  frequency_penalty: [0],
  presence_penalty: [0],
  service_tier: ["auto"],
};

/**
 * Returns a Chat Completions request in the words of Messages. System and developer messages move to the front, as
 * Anthropic's `system`.
 * @throws InvalidRequestError naming the first parameter that Anthropic cannot honour.
 */
export function toMessagesRequest(call: MessagesCall, traits: ModelTraits = {}): MessagesRequest {
  const { model, entry } = call;
  if (call.request.anthropic) return asItCame(call, call.request.anthropic);
  const request = withoutDropped(call.request, entry);
  refuseUntranslatable(request);
  const { betas: _, thinking, output_config, tools: own, ...options } = call.providerOptions ?? {};
  const { stop, temperature, top_p, user } = request;
  const history = toHistory(request.messages, {
    entry: entry.name,
    thinking: traits.refusesState ? "none" : thinkingToReturn(thinking),
    textsOnly: traits.refusesParts ?? false,
  });
  const tools = toTools(request.tools, own);
  const toolChoice = tools && toToolChoice(request);
  const outputConfig = toOutputConfig(request, output_config);
  // A loop that another provider began has no thinking to go on from, and would be refused.
  const canThink = fieldsOf(thinking).type !== "enabled" || !history.isLoopWithoutThinking;
  return {
    model,
    max_tokens: outputLimit(request, call.providerOptions),
    messages: history.messages,
    ...(history.system.length > 0 && { system: history.system }),
    ...(stop != null && { stop_sequences: typeof stop === "string" ? [stop] : stop }),
    ...(temperature != null && { temperature }),
    ...(top_p != null && { top_p }),
    ...(tools && { tools }),
    ...(toolChoice && { tool_choice: toolChoice }),
    ...(typeof user === "string" && { metadata: { user_id: user } }),
    ...options,
    ...(outputConfig && { output_config: outputConfig }),
    ...(thinking !== undefined && canThink && { thinking: thinking as MessagesRequest["thinking"] }),
  };
}

/** A body that came as one. */
function asItCame({ model, providerOptions = {}, request }: MessagesCall, body: Fields): MessagesRequest {
  const { betas: _, ...options } = providerOptions;
  return { max_tokens: outputLimit(request), ...body, ...options, model } as MessagesRequest;
}

/** Returns the most tokens that the answer may have, those of its thinking included. */
export function outputLimit(request: ChatRequest, options?: Fields): number {
  const budget = Number(fieldsOf(options?.thinking).budget_tokens);
  return outputLimitOf(request) ?? ANTHROPIC_DEFAULT + (budget > 0 ? budget : 0);
}

/** Without a word of the call on thinking, what began the loop has to be gone on with; earlier thinking is not needed. */
function thinkingToReturn(thinking: unknown): "all" | "loop" | "none" {
  if (thinking === undefined) return "loop";
  return fieldsOf(thinking).type === "disabled" ? "none" : "all";
}

function withoutDropped(request: ChatRequest, { dropParameters = [] }: ProviderEntry): ChatRequest {
  const kept = Object.entries(request).filter(([name]) => !dropParameters.includes(name));
  return Object.fromEntries(kept) as ChatRequest;
}

/** Returns the API version to ask for: the older one only where the request needs it. */
export function apiVersionFor({ temperature, top_p }: ChatRequest): string {
  return temperature != null || top_p != null ? SAMPLING_VERSION : CURRENT_VERSION;
}

function refuseUntranslatable(request: ChatRequest): void {
  for (const [name, value] of Object.entries(request)) {
    const plain = value instanceof WrittenNumber ? value.valueOf() : value;
    const isNeutral = plain == null || TRANSLATED.has(name) || NEUTRAL[name]?.includes(plain);
    if (!isNeutral) throw cannotHonour(name);
  }
  if ((toDouble(request.temperature) ?? 0) > 1) {
    throw cannotHonour("temperature", "Anthropic's temperature ends at 1: choose one from 0 to 1");
  }
}

/** Those of the request, and `own` ones in Anthropic's words, such as those that it runs itself. */
function toTools(given: unknown, own: unknown): Tool[] | undefined {
  const tools = given ?? [];
  if (!Array.isArray(tools)) throw cannotHonour("tools");
  const written = tools.map((tool, i): Tool => {
    const parsed = toolSchema.safeParse(tool);
    if (!parsed.success) throw cannotHonour(`tools[${i}]`, "only function tools can be translated");
    const { name, description, parameters, strict } = parsed.data.function;
    return {
      name,
      ...(description !== undefined && { description }),
      input_schema: { type: "object" as const, ...parameters },
      ...(strict === true && { strict }),
      ...cacheControlOf(tool.function),
      ...cacheControlOf(tool),
    };
  });
  const all = [...written, ...(Array.isArray(own) ? (own as Tool[]) : [])];
  return all.length > 0 ? all : undefined;
}

function toToolChoice({
  tool_choice: choice,
  parallel_tool_calls: parallel,
}: ChatRequest): ToolChoice | undefined {
  const serial = parallel === false && { disable_parallel_tool_use: true };
  if (choice == null || choice === "auto") return serial ? { type: "auto", ...serial } : undefined;
  if (choice === "none") return { type: "none" };
  if (choice === "required") return { type: "any", ...serial };
  const named = namedChoiceSchema.safeParse(choice);
  if (!named.success) throw cannotHonour("tool_choice");
  return { type: "tool", name: named.data.function.name, ...serial };
}

function toOutputConfig(request: ChatRequest, given: unknown): OutputConfig | undefined {
  const config: OutputConfig = { ...fieldsOf(given) };
  const { reasoning_effort: effort, response_format: format } = request;
  if (effort != null) {
    config.effort = EFFORTS.find((known) => known === effort);
    if (!config.effort) throw cannotHonour("reasoning_effort", `choose one of ${EFFORTS.join(", ")}`);
  }
  if (format != null && (format as { type?: unknown }).type !== "text") {
    const parsed = formatSchema.safeParse(format);
    if (!parsed.success) {
      throw cannotHonour("response_format", 'use {"type": "json_schema"} with a schema of the answer');
    }
    config.format = { type: "json_schema", schema: parsed.data.json_schema.schema };
  }
  return Object.keys(config).length > 0 ? config : undefined;
}
