import { z } from "zod";
import type { Call, Tool } from "../call.ts";
import { conversationOf, type Message, textOf } from "../conversation.ts";
import { InvalidCallError } from "../invalid-call.ts";
import { readShape } from "../read-shape.ts";
import { promptTokens } from "../token-count.ts";

const block = z.looseObject({
  type: z.string(),
  text: z.string().optional(),
  id: z.string().optional(),
  tool_use_id: z.string().optional(),
  content: z.unknown().optional(),
});
const jsonSchema = z.record(z.string(), z.unknown());

const requestSchema = z.looseObject({
  model: z.string().min(1),
  max_tokens: z.int().positive(),
  messages: z
    .array(
      z.looseObject({
        role: z.enum(["user", "assistant", "system"]),
        content: z.union([z.string(), z.array(block)]),
      }),
    )
    .min(1),
  system: z.union([z.string(), z.array(block)]).optional(),
  stream: z.boolean().optional(),
  tools: z.array(z.looseObject({ name: z.string(), input_schema: jsonSchema.optional() })).optional(),
  tool_choice: z
    .looseObject({ type: z.enum(["auto", "any", "tool", "none"]), name: z.string().optional() })
    .optional(),
  output_config: z
    .looseObject({ format: z.looseObject({ type: z.literal("json_schema"), schema: jsonSchema }).nullish() })
    .optional(),
});
type Request = z.infer<typeof requestSchema>;

/** Returns the call in the body of `POST /v1/messages`. @throws InvalidCallError naming the field that is wrong. */
export function readCall(body: unknown): Call {
  const request = readShape(requestSchema, body);
  const tools = toolsOf(request);
  return {
    ...conversationOf(request.messages.map(messageOf), request.system && textOf(request.system)),
    model: request.model,
    stream: request.stream ?? false,
    includeUsage: true,
    promptTokens: promptTokens(request.messages, request.system, request.tools),
    maxTokens: request.max_tokens,
    choices: 1,
    tools: request.tool_choice?.type === "none" ? [] : tools,
    forcedTool: forcedTool(request, tools),
    answerSchema: request.output_config?.format?.schema,
  };
}

function messageOf({ role, content }: Request["messages"][number]): Message {
  const blocks = typeof content === "string" ? [] : content;
  const results = blocks.filter(({ type }) => type === "tool_result");
  return {
    role,
    text: textOf(content),
    toolResults: results.map((result) => textOf(result.content)),
    callIds: blocks.filter(({ type }) => type === "tool_use").map(({ id }) => id ?? ""),
    resultIds: results.map(({ tool_use_id }) => tool_use_id ?? ""),
  };
}

function toolsOf({ tools = [] }: Request): Tool[] {
  return tools.map(({ name, input_schema: schema }) => ({ name, schema: schema ?? { type: "object" } }));
}

function forcedTool({ tool_choice: choice }: Request, tools: Tool[]): Tool | undefined {
  if (choice?.type !== "any" && choice?.type !== "tool") return undefined;
  const chosen = tools.find(({ name }) => choice.type === "any" || name === choice.name);
  if (chosen) return chosen;
  throw new InvalidCallError(
    `tool_choice: ${choice.name ?? choice.type} is not among the tools`,
    "tool_choice",
  );
}
