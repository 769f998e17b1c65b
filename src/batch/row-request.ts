import type { z } from "zod";
import { type ChatRequest, chatRequestSchema } from "../shared/chat.ts";
import { isObject } from "../shared/json.ts";
import { RowFault } from "./row-fault.ts";

type Fields = Record<string, unknown>;

/** Without the nulls that some tools write for what a message or a part does not have. */
function withoutNullFields(messages: unknown): unknown {
  if (!Array.isArray(messages)) return messages;
  return messages.map((message: unknown) => {
    if (!isObject(message)) return message;
    const { content } = message;
    const parts = Array.isArray(content) ? content.map((part) => without(part, ["text"])) : content;
    const isSame = !Array.isArray(content) || content.every((part, i) => part === (parts as unknown[])[i]);
    return without(isSame ? message : { ...message, content: parts }, ["tool_calls", "tool_call_id"]);
  });
}

function without(value: unknown, names: readonly string[]): unknown {
  if (!isObject(value) || !names.some((name) => value[name] === null)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([name, field]) => field !== null || !names.includes(name)),
  );
}

/** Returns what a line asks as a checked request. @throws RowFault */
export function parseRequest(request: Fields, prefix: string): ChatRequest {
  const withoutNulls = { ...request, messages: withoutNullFields(request.messages) };
  const checked = chatRequestSchema.safeParse(withoutNulls);
  if (!checked.success) throw schemaFault(checked.error, prefix);
  // As the line has it: what the schema returns is a copy with another order of keys.
  return withoutNulls as ChatRequest;
}

/** Names the field and the rule; zod's messages do not quote values. */
export function schemaFault(error: z.ZodError, prefix: string): RowFault {
  const issue = error.issues[0];
  return new RowFault(
    "invalid_request",
    `${prefix}${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is not valid"}`,
  );
}
