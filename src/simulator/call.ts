import type { JsonSchema } from "./schema-instance.ts";

/** What the simulator needs to know of a request, whatever its dialect. */
export interface Call {
  model: string;
  stream: boolean;
  /** OpenAI's `stream_options.include_usage`. */
  includeUsage: boolean;
  lastUserText: string;
  promptTokens: number;
  maxTokens: number | undefined;
  /** OpenAI's `n`. */
  choices: number;
  /** The function that `tool_choice` demands. */
  forcedTool: { name: string; schema: JsonSchema } | undefined;
  /** The schema of a structured answer. */
  answerSchema: JsonSchema | undefined;
}

/** The request is not one the vendor would accept: becomes a 400 in the dialect's shape. */
export class InvalidCallError extends Error {
  readonly param: string | undefined;

  constructor(message: string, param?: string) {
    super(message);
    this.param = param;
  }
}

interface TextPart {
  type: string;
  text?: string | undefined;
}

/** The text of the last user message; the parts of one message are joined by line breaks. */
export function lastUserText(
  messages: readonly { role: string; content?: string | readonly TextPart[] | null | undefined }[],
): string {
  const content = messages.findLast((message) => message.role === "user")?.content;
  if (!content) return "";
  if (typeof content === "string") return content;
  return content.flatMap((part) => part.text ?? []).join("\n");
}
