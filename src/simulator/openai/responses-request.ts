import { z } from "zod";
import type { Call, Tool } from "../call.ts";
import { conversationOf, type Message, textOf } from "../conversation.ts";
import { InvalidCallError } from "../invalid-call.ts";
import { readShape } from "../read-shape.ts";
import type { JsonSchema } from "../schema-instance.ts";
import { promptTokens } from "../token-count.ts";

const jsonSchema = z.record(z.string(), z.unknown());
const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const content = z.union([z.string(), z.array(part)]);

const item = z.looseObject({
  type: z.string().optional(),
  role: z.enum(["developer", "system", "user", "assistant"]).optional(),
  content: content.nullish(),
  call_id: z.string().optional(),
  name: z.string().optional(),
  output: content.optional(),
});
type Item = z.infer<typeof item>;

const requestSchema = z.looseObject({
  model: z.string().min(1),
  input: z.union([z.string(), z.array(item).min(1)]),
  instructions: z.string().nullish(),
  stream: z.boolean().nullish(),
  max_output_tokens: z.int().positive().nullish(),
  service_tier: z.string().nullish(),
  tools: z
    .array(z.looseObject({ type: z.string(), name: z.string().optional(), parameters: jsonSchema.nullish() }))
    .nullish(),
  tool_choice: z.union([z.string(), z.looseObject({ name: z.string().optional() })]).nullish(),
  text: z
    .looseObject({
      format: z
        .looseObject({
          type: z.enum(["text", "json_object", "json_schema"]),
          name: z.string().optional(),
          schema: jsonSchema.optional(),
        })
        .nullish(),
    })
    .nullish(),
});
type Request = z.infer<typeof requestSchema>;

/** What Chat Completions has and Responses refuses. */
const UNKNOWN = ["messages", "max_tokens", "max_completion_tokens", "response_format", "n", "stop", "seed"];

/**
 * Returns the call in the body of `POST /v1/responses`.
 * @throws InvalidCallError naming the field that is wrong.
 */
export function readResponsesCall(body: unknown): Call {
  const request = readShape(requestSchema, body);
  const unknown = UNKNOWN.find((name) => name in request);
  if (unknown) throw new InvalidCallError(`Unknown parameter: '${unknown}'.`, unknown);
  const { input, instructions } = request;
  const items: Item[] = typeof input === "string" ? [{ role: "user", content: input }] : input;
  const tools = toolsOf(request);
  return {
    ...conversationOf(messagesOf(items), instructions ?? undefined),
    model: request.model,
    stream: request.stream ?? false,
    includeUsage: true,
    promptTokens: promptTokens(
      items.map((one) => ({ ...one, content: one.content ?? one.output })),
      instructions ?? undefined,
      request.tools ?? undefined,
    ),
    maxTokens: request.max_output_tokens ?? undefined,
    choices: 1,
    isFlex: request.service_tier === "flex",
    tools: request.tool_choice === "none" ? [] : tools,
    forcedTool: forcedTool(request, tools),
    answerSchema: answerSchema(request),
  };
}

/** What an assistant says and calls in a row is one message, as Chat Completions has it. */
function messagesOf(items: readonly Item[]): Message[] {
  const messages: Message[] = [];
  for (const item of items) {
    const message = messageOf(item);
    const last = messages.at(-1);
    if (message?.role !== "assistant" || last?.role !== "assistant")
      messages.push(...(message ? [message] : []));
    else
      messages[messages.length - 1] = {
        ...last,
        text: [last.text, message.text].filter(Boolean).join("\n"),
        callIds: [...last.callIds, ...message.callIds],
      };
  }
  return messages;
}

/** Undefined for items that only the provider reads. */
function messageOf({ type = "message", role, content, call_id: id = "", output }: Item): Message | undefined {
  const none = { text: "", toolResults: [], callIds: [], resultIds: [] };
  if (type === "function_call") return { ...none, role: "assistant", callIds: [id] };
  if (type === "function_call_output")
    return { ...none, role: "tool", toolResults: [textOf(output)], resultIds: [id] };
  if (type !== "message") return undefined;
  if (role === undefined) throw new InvalidCallError("Missing required parameter: 'role'.", "input");
  return { ...none, role, text: textOf(content) };
}

function toolsOf({ tools }: Request): Tool[] {
  const functions = tools?.filter(({ type }) => type === "function") ?? [];
  return functions.map(({ name, parameters }) => {
    if (name === undefined)
      throw new InvalidCallError("Missing required parameter: 'tools[0].name'.", "tools");
    return { name, schema: parameters ?? { type: "object" } };
  });
}

function forcedTool({ tool_choice: choice }: Request, tools: Tool[]): Tool | undefined {
  const named = typeof choice === "object" ? choice?.name : undefined;
  if (choice !== "required" && named === undefined) return undefined;
  const chosen = tools.find(({ name }) => named === undefined || name === named);
  if (chosen) return chosen;
  throw new InvalidCallError(`tool_choice: ${named ?? "required"} is not among the tools`, "tool_choice");
}

function answerSchema({ text }: Request): JsonSchema | undefined {
  const format = text?.format;
  if (format?.type === "json_object") return { type: "object" };
  if (format?.type !== "json_schema") return undefined;
  if (format.schema && format.name !== undefined) return format.schema;
  throw new InvalidCallError("Missing required parameter: 'text.format.name' or its schema.", "text");
}
