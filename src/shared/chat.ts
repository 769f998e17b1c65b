import { z } from "zod";
import { WrittenNumber } from "./exact-json.ts";
import { type Redact, redacted } from "./redact.ts";
import { toToolCalls } from "./tool-calls.ts";

const MAX_TEXT_BYTES = 4 * 1024 * 1024;
/** The largest request a job may carry, as JSON. */
export const MAX_REQUEST_BYTES = 20 * 1024 * 1024;

const text = z
  .string()
  .refine((value) => value.length * 3 <= MAX_TEXT_BYTES || Buffer.byteLength(value) <= MAX_TEXT_BYTES, {
    error: "is longer than 4 MiB",
  });

const contentPart = z.looseObject({ type: z.string(), text: text.optional() });

const toolCall = z.looseObject({
  id: z.string(),
  type: z.literal("function"),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});

export const messageSchema = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([text, z.array(contentPart).min(1)]).nullish(),
  tool_calls: z.array(toolCall).optional(),
  tool_call_id: z.string().optional(),
  /** Of ours: what the message's provider wants back verbatim, by the entry's name. It goes to that entry alone. */
  vendor_state: z.unknown().optional(),
});
export type Message = z.infer<typeof messageSchema>;

/** Returns a schema of a number that may be a `WrittenNumber`, whose double the rule holds for. */
export function numeric(rule: z.ZodType<number>): z.ZodType<number | WrittenNumber> {
  return z.unknown().superRefine((value, context) => {
    const { error } = rule.safeParse(value instanceof WrittenNumber ? value.valueOf() : value);
    for (const { message } of error?.issues ?? []) context.addIssue({ code: "custom", message });
  }) as z.ZodType<number | WrittenNumber>;
}

const positiveInteger = z.int().positive();

/**
 * A request in OpenAI's chat.completions words, without the model. Parameters not named here pass through to
 * OpenAI-compatible providers as they are; other dialects say which ones they cannot honour.
 */
export const chatRequestSchema = z.looseObject({
  messages: z.array(messageSchema).min(1),
  max_tokens: numeric(positiveInteger).nullish(),
  max_completion_tokens: numeric(positiveInteger).nullish(),
  temperature: numeric(z.number().min(0).max(2)).nullish(),
  top_p: numeric(z.number().min(0).max(1)).nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  n: numeric(positiveInteger).nullish(),
  /** Of ours: asks for the vector of each message's text in place of an answer, where the dialect can. */
  embedding: z
    .looseObject({
      dimensions: numeric(positiveInteger).optional(),
      encoding_format: z.enum(["float", "base64"]).optional(),
      user: z.string().optional(),
      /** The ids of the tokens that each message stands for. */
      tokens: z.array(z.array(z.int().min(0)).min(1)).optional(),
    })
    .optional(),
  /** Of ours: the body of a Responses call, without its model, which goes out as it is; the messages only show what it asks. */
  responses: z.record(z.string(), z.unknown()).optional(),
  /** Of ours: the same of a Messages call, for a provider of Anthropic's dialect. */
  anthropic: z.record(z.string(), z.unknown()).optional(),
  stream: z.literal(false, "must be absent: a queued request is not streamed").optional(),
});
export type ChatRequest = z.infer<typeof chatRequestSchema>;

const usageSchema = z.looseObject({
  prompt_tokens: z.number().default(0),
  completion_tokens: z.number().default(0),
  total_tokens: z.number().default(0),
  /** The provider did not say all of these; what was missing is a guess by the length of the texts. */
  estimated: z.literal(true).optional(),
});

const FINISH_REASONS = ["stop", "length", "tool_calls", "content_filter"] as const;
/** Why an answer ended. */
export type FinishReason = (typeof FINISH_REASONS)[number];

/** An answer's message. What else its provider wrote into it stands beside these fields, untouched. */
const answerMessageSchema = z.looseObject({
  role: z.literal("assistant").catch("assistant"),
  /** The text alone; null instead of an empty one beside tool calls, and of an answer that was refused. */
  content: z.string().nullable().default(null),
  /** Why the model does not answer, in its words. */
  refusal: z.string().nullish().catch(undefined),
  /** What the model thought before it answered, wherever its provider writes that. */
  reasoning: z.string().optional().catch(undefined),
  tool_calls: z
    .array(toolCall)
    .optional()
    .catch(({ input }) => toToolCalls(input, (index) => `call_${index}`)),
  /** The whole content, when its provider wrote a list that holds more than texts and tool calls. */
  content_parts: z.array(z.unknown()).optional().catch(undefined),
  /** Anthropic's thinking, with its signatures. */
  thinking_blocks: z.array(z.unknown()).optional().catch(undefined),
  /** What the Responses API wants back of its answer: reasoning items whole, of others what is not said above. */
  response_items: z.array(z.unknown()).optional().catch(undefined),
});

/**
 * What every provider's answer becomes: the normal form, a chat.completion body. The readers in `src/providers` write
 * nothing else; what is caught and filled in here is in answers that older versions stored.
 */
export const chatCompletionSchema = z.looseObject({
  id: z.string(),
  object: z.string(),
  model: z.string(),
  choices: z.array(
    z.looseObject({
      message: answerMessageSchema,
      finish_reason: z.enum(FINISH_REASONS).catch("stop"),
    }),
  ),
  usage: usageSchema.optional().catch(undefined),
});
/** An answer as a `chat.completion` body, whatever the provider's dialect. */
export type ChatCompletion = z.infer<typeof chatCompletionSchema>;

/** What the body of vectors calls itself: each choice's content is one, as base64. */
export const EMBEDDINGS = "embeddings";

/** The first `maxChars` characters of the last user message, on one line. @param redact what they pass before */
export function previewOf(request: ChatRequest, redact?: Redact, maxChars = 200): string {
  const last = request.messages.findLast((message) => message.role === "user") ?? request.messages.at(-1);
  return oneLine(messageText(last), maxChars, redact);
}

/** The answer's text, on one line, shortened. @param redact what it passes before */
export function previewOfAnswer(body: ChatCompletion, redact?: Redact, maxChars = 200): string {
  if (body.object === EMBEDDINGS) return `vectors of texts: ${body.choices.length}`;
  const { content, refusal } = body.choices[0]?.message ?? {};
  return oneLine(content || refusal || "", maxChars, redact);
}

function messageText(message: Message | undefined): string {
  const content = message?.content;
  if (!content) return "";
  return typeof content === "string"
    ? content
    : content.map((part) => part.text ?? `[${part.type}]`).join(" ");
}

function oneLine(value: string, maxChars: number, redact: Redact | undefined): string {
  const head = redacted(value, redact, maxChars * 2)
    .replace(/\s+/g, " ")
    .trim();
  return head.length > maxChars ? `${head.slice(0, maxChars)}…` : head;
}
