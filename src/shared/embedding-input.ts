type UserMessage = { role: "user"; content: string };

/** What vectors are made of, as a request has it: a message per vector, and the token ids of each where they are given. */
export interface EmbeddingRequest {
  messages: UserMessage[];
  tokens?: number[][];
}

/** Returns what a text, several, the token ids of one or of several ask for; undefined for any other input. */
export function toEmbeddingRequest(input: unknown): EmbeddingRequest | undefined {
  if (typeof input === "string") return { messages: [userMessage(input)] };
  if (!Array.isArray(input) || input.length === 0) return undefined;
  if (input.every((text) => typeof text === "string")) return { messages: input.map(userMessage) };
  const tokens = isTokens(input) ? [input] : input;
  if (!tokens.every(isTokens)) return undefined;
  return { messages: tokens.map(({ length }) => userMessage(`[${length} tokens]`)), tokens };
}

function isTokens(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id) && id >= 0);
}

function userMessage(content: string): UserMessage {
  return { role: "user", content };
}
