import type { ChatRequest, Message } from "./chat.ts";

const BYTES_PER_TOKEN = 4;
const TOKENS_PER_MESSAGE = 4;
/** The tokens of one large picture at the providers' usual detail, whatever its bytes. */
const TOKENS_PER_PICTURE = 1000;
/** A second has about ten tokens; compressed sound has 16 KB a second, plain sound two to three times that. */
const BYTES_PER_TOKEN_OF_SOUND = 1600;
/** A value between PDFs of text, with a page of about 2000 tokens in 50 KB, and scanned ones, with a page in 500 KB. */
const BYTES_PER_TOKEN_OF_FILE = 100;
const FIRST_GUESS_TOKENS = 500;
const WEIGHT_OF_NEWEST = 0.1;

/**
 * Returns a quick guess at the prompt's tokens: UTF-8 bytes / 4, which is characters / 4 for ASCII and, unlike it, not
 * far too low for Chinese; token ids are counted. The settlement after the call corrects it.
 */
export function estimatePromptTokens(request: ChatRequest): number {
  const { messages, tools, response_format: format, responses, anthropic, embedding } = request;
  const tokens = embedding?.tokens;
  if (tokens) return tokens.reduce((sum, ids) => sum + ids.length, 0);
  if (responses ?? anthropic) return jsonTokens(responses ?? anthropic);
  const perMessage = messages.map((message) => TOKENS_PER_MESSAGE + messageTokens(message));
  return perMessage.reduce((sum, tokens) => sum + tokens, jsonTokens(tools) + jsonTokens(format));
}

function messageTokens({ content, tool_calls: toolCalls }: Message): number {
  if (!content || typeof content === "string") return textTokens(content ?? "") + jsonTokens(toolCalls);
  const parts = content.map((part) => (part.text === undefined ? mediaTokens(part) : textTokens(part.text)));
  return parts.reduce((sum, tokens) => sum + tokens, jsonTokens(toolCalls));
}

/** Returns tokens by the length of what a part carries; an address or an id says nothing, and counts as a picture. */
function mediaTokens({ input_audio: sound, file }: Record<string, unknown>): number {
  const soundBytes = bytesIn(sound, "data");
  const fileData = textIn(file, "file_data");
  if (soundBytes > 0) return Math.ceil(soundBytes / BYTES_PER_TOKEN_OF_SOUND);
  if (/^data:text\//i.test(fileData)) return Math.ceil(bytesIn(file, "file_data") / BYTES_PER_TOKEN);
  return Math.max(TOKENS_PER_PICTURE, Math.ceil(bytesIn(file, "file_data") / BYTES_PER_TOKEN_OF_FILE));
}

function textIn(value: unknown, field: string): string {
  const text = (value as Record<string, unknown> | null | undefined)?.[field];
  return typeof text === "string" ? text : "";
}

/** Returns the bytes of a base64 text: four characters are three bytes. */
function bytesIn(value: unknown, field: string): number {
  return (textIn(value, field).length * 3) / 4;
}

/** Returns a quick guess at a text's tokens. */
export function textTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

function jsonTokens(value: unknown): number {
  return value == null ? 0 : textTokens(JSON.stringify(value));
}

/** Exponential moving average of the completion tokens of each model's answers: the guess for the next one. */
export class OutputAverage {
  readonly #tokens = new Map<string, number>();

  /** Returns the tokens to expect of the next answer. */
  of(model: string): number {
    return Math.ceil(this.#tokens.get(model) ?? FIRST_GUESS_TOKENS);
  }

  observe(model: string, tokens: number): void {
    const average = this.#tokens.get(model) ?? FIRST_GUESS_TOKENS;
    if (tokens > 0) this.#tokens.set(model, average + (tokens - average) * WEIGHT_OF_NEWEST);
  }
}
