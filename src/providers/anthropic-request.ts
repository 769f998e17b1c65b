import type {
  MessageCreateParamsNonStreaming,
  OutputConfig,
  Tool,
  ToolChoice,
} from "@anthropic-ai/sdk/resources/messages/messages";
import { z } from "zod";
import type { ChatRequest } from "../shared/chat.ts";
import { toDouble, WrittenNumber } from "../shared/exact-json.ts";
import { toMessages, toSystem } from "./anthropic-messages.ts";
import { cannotHonour } from "./unsupported.ts";

/** Anthropic requires a limit; this one holds where the request names none. */
const DEFAULT_MAX_TOKENS = 4096;
/** The last version that knows `temperature` and `top_p`; the next one answers them with 400. */
const SAMPLING_VERSION = "2023-06-01";
const CURRENT_VERSION = "2026-10-21";

/** A Messages request; the sampling parameters are no longer part of the SDK's type. */
export type MessagesRequest = MessageCreateParamsNonStreaming & {
  temperature?: number | WrittenNumber;
  top_p?: number | WrittenNumber;
};

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
export function toMessagesRequest(model: string, request: ChatRequest): MessagesRequest {
  refuseUntranslatable(request);
  const { messages, stop, temperature, top_p, user } = request;
  const system = toSystem(messages);
  const tools = toTools(request.tools);
  const toolChoice = tools && toToolChoice(request);
  const outputConfig = toOutputConfig(request);
  return {
    model,
    max_tokens: outputLimit(request),
    messages: toMessages(messages),
    ...(system.length > 0 && { system }),
    ...(stop != null && { stop_sequences: typeof stop === "string" ? [stop] : stop }),
    ...(temperature != null && { temperature }),
    ...(top_p != null && { top_p }),
    ...(tools && { tools }),
    ...(toolChoice && { tool_choice: toolChoice }),
    ...(outputConfig && { output_config: outputConfig }),
    ...(typeof user === "string" && { metadata: { user_id: user } }),
  };
}

/** Returns the most tokens that the answer may have. */
export function outputLimit({ max_completion_tokens, max_tokens }: ChatRequest): number {
  return toDouble(max_completion_tokens ?? max_tokens) ?? DEFAULT_MAX_TOKENS;
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

function toTools(tools: unknown): Tool[] | undefined {
  if (tools == null) return undefined;
  if (!Array.isArray(tools)) throw cannotHonour("tools");
  if (tools.length === 0) return undefined;
  return tools.map((tool, i) => {
    const parsed = toolSchema.safeParse(tool);
    if (!parsed.success) throw cannotHonour(`tools[${i}]`, "only function tools can be translated");
    const { name, description, parameters, strict } = parsed.data.function;
    const { cache_control } = parsed.data as { cache_control?: Tool["cache_control"] };
    return {
      name,
      ...(cache_control && { cache_control }),
      ...(description !== undefined && { description }),
      input_schema: { type: "object" as const, ...parameters },
      ...(strict === true && { strict }),
    };
  });
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

function toOutputConfig(request: ChatRequest): OutputConfig | undefined {
  const config: OutputConfig = {};
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
