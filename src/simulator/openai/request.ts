import { z } from "zod";
import type { Call, Tool } from "../call.ts";
import { conversationOf, type Message, textOf } from "../conversation.ts";
import { InvalidCallError } from "../invalid-call.ts";
import { readShape } from "../read-shape.ts";
import type { JsonSchema } from "../schema-instance.ts";
import { promptTokens } from "../token-count.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const jsonSchema = z.record(z.string(), z.unknown());

const message = z.looseObject({
  role: z.enum(["developer", "system", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), z.array(part)]).nullish(),
  tool_calls: z.array(z.looseObject({ id: z.string() })).nullish(),
  tool_call_id: z.string().nullish(),
});

const tool = z.looseObject({
  type: z.string(),
  function: z.looseObject({ name: z.string(), parameters: jsonSchema.nullish() }).optional(),
});

const requestSchema = z.looseObject({
  model: z.string().min(1),
  messages: z.array(message).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  n: z.int().min(1).max(128).nullish(),
  service_tier: z.string().nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: z
    .union([z.string(), z.looseObject({ function: z.looseObject({ name: z.string() }).optional() })])
    .nullish(),
  response_format: z
    .looseObject({
      type: z.enum(["text", "json_object", "json_schema"]),
      json_schema: z.looseObject({ name: z.string(), schema: jsonSchema.optional() }).optional(),
    })
    .nullish(),
});
type Request = z.infer<typeof requestSchema>;

/**
 * Returns the call in the body of `POST /v1/chat/completions`.
 * @throws InvalidCallError naming the field that is wrong.
 */
export function readCall(body: unknown): Call {
  const request = readShape(requestSchema, body);
  const tools = toolsOf(request);
  return {
    ...conversationOf(request.messages.map(messageOf)),
    model: request.model,
    stream: request.stream ?? false,
    includeUsage: request.stream_options?.include_usage ?? false,
    promptTokens: promptTokens(request.messages, undefined, request.tools ?? undefined),
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
    choices: request.n ?? 1,
    isFlex: request.service_tier === "flex",
    tools: request.tool_choice === "none" ? [] : tools,
    forcedTool: forcedTool(request, tools),
    answerSchema: answerSchema(request),
  };
}

function messageOf({ role, content, tool_calls, tool_call_id }: Request["messages"][number]): Message {
  const text = textOf(content);
  const callIds = tool_calls?.map(({ id }) => id) ?? [];
  return role === "tool"
    ? { role, text: "", toolResults: [text], callIds, resultIds: [tool_call_id ?? ""] }
    : { role, text, toolResults: [], callIds, resultIds: [] };
}

function toolsOf({ tools }: Request): Tool[] {
  const functions = tools?.flatMap((tool) => tool.function ?? []) ?? [];
  return functions.map(({ name, parameters }) => ({ name, schema: parameters ?? { type: "object" } }));
}

function forcedTool({ tool_choice: choice }: Request, tools: Tool[]): Tool | undefined {
  const named = typeof choice === "object" ? choice?.function?.name : undefined;
  if (choice !== "required" && named === undefined) return undefined;
  const chosen = tools.find(({ name }) => named === undefined || name === named);
  if (chosen) return chosen;
  throw new InvalidCallError(`tool_choice: ${named ?? "required"} is not among the tools`, "tool_choice");
}

function answerSchema({ response_format: format }: Request): JsonSchema | undefined {
  if (format?.type === "json_object") return { type: "object" };
  if (format?.type !== "json_schema") return undefined;
  if (format.json_schema?.schema) return format.json_schema.schema;
  throw new InvalidCallError("response_format.json_schema.schema: missing", "response_format");
}
