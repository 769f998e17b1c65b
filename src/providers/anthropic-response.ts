import { z } from "zod";
import type { ChatCompletion } from "../shared/chat.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { readTokenUse } from "../shared/token-use.ts";
import type { HttpReply } from "./call.ts";
import type { ProviderReply } from "./provider.ts";
import { unusableAnswer } from "./provider-errors.ts";

const count = z.number().nullish();

const messageSchema = z.looseObject({
  id: z.string(),
  model: z.string(),
  content: z.array(
    z.looseObject({
      type: z.string(),
      text: z.string().optional(),
      id: z.string().optional(),
      name: z.string().optional(),
      input: z.unknown().optional(),
      argumentsText: z.string().optional(),
    }),
  ),
  stop_reason: z.string(),
  usage: z
    .looseObject({
      input_tokens: count,
      output_tokens: count,
      cache_read_input_tokens: count,
      cache_creation_input_tokens: count,
      output_tokens_details: z.looseObject({ thinking_tokens: count }).nullish(),
    })
    .nullish(),
});
type MessagesAnswer = z.infer<typeof messageSchema>;

const FINISH_REASONS: Record<string, string> = {
  end_turn: "stop",
  stop_sequence: "stop",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool_calls",
  refusal: "content_filter",
};

/**
 * Returns a Messages answer as a chat.completion. Thinking blocks have no place in it and stay out; an unknown stop
 * reason becomes `stop`.
 * @throws APIConnectionError `invalid_response` when the body is no Messages answer.
 */
export function toReply(entry: ProviderEntry, answer: HttpReply): ProviderReply {
  if (!answer.data) throw unusableAnswer(entry, "it is empty", answer);
  if (typeof answer.data !== "object") throw unusableAnswer(entry, "it is not JSON", answer);
  const message = messageSchema.safeParse(answer.data);
  if (!message.success) throw unusableAnswer(entry, "it is no Messages answer", answer);
  const usage = toUsage(message.data.usage);
  return {
    statusCode: answer.statusCode,
    requestId: answer.requestId || message.data.id,
    body: toCompletion(message.data, usage),
    tokens: readTokenUse(usage),
    charged: usage.total_tokens > 0 ? chargedBy(message.data.usage) : undefined,
  };
}

function toCompletion(message: MessagesAnswer, usage: ReturnType<typeof toUsage>): ChatCompletion {
  const texts = message.content.filter(({ type }) => type === "text");
  const toolCalls = message.content
    .filter(({ type }) => type === "tool_use")
    .map(({ id, name, input, argumentsText }) => ({
      id,
      type: "function",
      function: { name, arguments: argumentsText ?? JSON.stringify(input ?? {}) },
    }));
  return {
    id: message.id,
    object: "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model: message.model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: texts.length > 0 ? texts.map(({ text }) => text ?? "").join("") : null,
          refusal: null,
          ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
        },
        logprobs: null,
        finish_reason: FINISH_REASONS[message.stop_reason] ?? "stop",
      },
    ],
    usage,
  };
}

/** Returns what counts against the limits: prompt tokens read from the cache do not. */
function chargedBy(usage: MessagesAnswer["usage"]) {
  const input = (usage?.input_tokens ?? 0) + (usage?.cache_creation_input_tokens ?? 0);
  return { input, output: usage?.output_tokens ?? 0 };
}

/** Returns the usage in OpenAI's words, whose prompt tokens include cache reads and writes; Anthropic counts them apart. */
function toUsage(usage: MessagesAnswer["usage"]) {
  const cached = usage?.cache_read_input_tokens ?? 0;
  const written = usage?.cache_creation_input_tokens ?? 0;
  const prompt = (usage?.input_tokens ?? 0) + cached + written;
  const completion = usage?.output_tokens ?? 0;
  const thinking = usage?.output_tokens_details?.thinking_tokens;
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached, ...(written > 0 && { cache_write_tokens: written }) },
    ...(thinking != null && { completion_tokens_details: { reasoning_tokens: thinking } }),
  };
}
