import type { Conversation } from "./conversation.ts";
import type { JsonSchema } from "./schema-instance.ts";

/** What the simulator needs to know of a request, whatever its dialect. */
export interface Call extends Conversation {
  model: string;
  stream: boolean;
  /** Whether a stream tells its usage: OpenAI's `stream_options.include_usage`. */
  includeUsage: boolean;
  promptTokens: number;
  /** Of these, the tokens that the provider's cache had; default none. */
  cachedTokens?: number;
  /** Whether OpenAI's flex processing is asked for: half the price, when there is room. */
  isFlex?: boolean;
  maxTokens: number | undefined;
  /** The number of answers: OpenAI's `n`. */
  choices: number;
  /** The tools that may be called: none when `tool_choice` is `none`. */
  tools: readonly Tool[];
  /** The tool that `tool_choice` demands. */
  forcedTool: Tool | undefined;
  /** The schema of a structured answer. */
  answerSchema: JsonSchema | undefined;
  /** The vectors that are asked for instead of an answer. */
  embeddings?: { texts: readonly string[]; dimensions: number; isBase64: boolean };
}

/** A tool that a request offers. */
export interface Tool {
  name: string;
  /** The schema of its arguments. */
  schema: JsonSchema;
}
