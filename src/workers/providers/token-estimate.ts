import type { ChatRequest, Message } from "../../shared/chat.ts";

const BYTES_PER_TOKEN = 4;
const TOKENS_PER_MESSAGE = 4;
/** About one large picture at the providers' usual detail; sounds and files are of the same order. */
const TOKENS_PER_MEDIA_PART = 1000;
const FIRST_GUESS_TOKENS = 500;
const WEIGHT_OF_NEWEST = 0.1;

/**
 * A quick guess at the prompt's tokens: UTF-8 bytes / 4, which is characters / 4 for ASCII and, unlike it, not
 * far too low for Chinese. The settlement after the call corrects it.
 */
export function estimatePromptTokens(request: ChatRequest): number {
  const { messages, tools, response_format: format } = request;
  const perMessage = messages.map((message) => TOKENS_PER_MESSAGE + messageTokens(message));
  return perMessage.reduce((sum, tokens) => sum + tokens, jsonTokens(tools) + jsonTokens(format));
}

function messageTokens({ content, tool_calls: toolCalls }: Message): number {
  if (!content || typeof content === "string") return textTokens(content ?? "") + jsonTokens(toolCalls);
  const parts = content.map((part) =>
    part.text === undefined ? TOKENS_PER_MEDIA_PART : textTokens(part.text),
  );
  return parts.reduce((sum, tokens) => sum + tokens, jsonTokens(toolCalls));
}

function textTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

function jsonTokens(value: unknown): number {
  return value == null ? 0 : textTokens(JSON.stringify(value));
}

/** Exponential moving average of the completion tokens of each model's answers: the guess for the next one. */
export class OutputAverage {
  readonly #tokens = new Map<string, number>();

  of(model: string): number {
    return Math.ceil(this.#tokens.get(model) ?? FIRST_GUESS_TOKENS);
  }

  observe(model: string, tokens: number): void {
    const average = this.#tokens.get(model) ?? FIRST_GUESS_TOKENS;
    if (tokens > 0) this.#tokens.set(model, average + (tokens - average) * WEIGHT_OF_NEWEST);
  }
}
