const CHARS_PER_TOKEN = 4;
/** The fields of messages and content parts that hold what a model reads; images and ids are left out. */
const READ_FIELDS = ["content", "text", "name", "arguments", "input", "function", "tool_calls"];

/** Returns the tokens of a text: four UTF-16 units are one, rounded up. */
export function tokensOf(chars: number): number {
  return Math.ceil(chars / CHARS_PER_TOKEN);
}

/** Returns the longest begin of a text that has so many tokens. */
export function textOfTokens(text: string, tokens: number): string {
  return text.slice(0, tokens * CHARS_PER_TOKEN).toWellFormed();
}

/** Returns the text in pieces of one token each. */
export function tokenTexts(text: string): string[] {
  return Array.from({ length: tokensOf(text.length) }, (_, index) =>
    text.slice(index * CHARS_PER_TOKEN, (index + 1) * CHARS_PER_TOKEN),
  );
}

/** Returns the tokens of a prompt: the text of its messages and system prompt, and its tool definitions as JSON. */
export function promptTokens(messages: unknown, system: unknown, tools: unknown): number {
  const toolChars = tools === undefined ? 0 : JSON.stringify(tools).length;
  return Math.max(1, tokensOf(readChars(messages) + readChars(system) + toolChars));
}

function readChars(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (value === null || typeof value !== "object") return 0;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + readChars(item), 0);
  const fields = value as Record<string, unknown>;
  return READ_FIELDS.reduce((sum, field) => sum + readField(field, fields[field]), 0);
}

function readField(field: string, value: unknown): number {
  const isJson = field === "input" && typeof value === "object" && value !== null;
  return isJson ? JSON.stringify(value).length : readChars(value);
}
