import type { ChatRequest, Message } from "../../shared/chat.ts";
import { InvalidRequestError } from "../../shared/errors.ts";
import { isObject } from "../../shared/json.ts";
import { type JsonSchema, mapSchemas, tellKeywords } from "../../shared/json-schema.ts";
import type { OutputMode, OutputSpec } from "../../shared/output-spec.ts";
import type { ProviderEntry } from "../../shared/providers.ts";
import { narrowSchema } from "./narrow-schema.ts";
import { isPlainPattern, NATIVE_SUBSETS } from "./schema-subset.ts";

type Asking = Pick<OutputSpec, "name" | "schema" | "mode">;

/**
 * The request with the schema asked for, and the mode in which its answer is to be read: the spec's, else the
 * entry's, else `native`. Native on OpenAI is strict where the schema fits its strict subset, else a help without a
 * promise; where Anthropic's subset does not hold the schema, the mode becomes `tool`.
 * @throws InvalidRequestError `invalid_schema` when a tool of the request has the answer's name in mode `tool`.
 */
export function requestOutput(
  { dialect, structuredOutput }: Pick<ProviderEntry, "dialect" | "structuredOutput">,
  request: ChatRequest,
  spec: Asking,
): { request: ChatRequest; mode: OutputMode } {
  const mode = spec.mode ?? structuredOutput ?? "native";
  if (mode === "prompt") return { request: askByPrompt(request, spec), mode };
  if (mode === "tool") return { request: askByTool(request, spec), mode };
  const narrowed = narrowSchema(spec.schema, NATIVE_SUBSETS[dialect]);
  if (!narrowed && dialect === "anthropic") return { request: askByTool(request, spec), mode: "tool" };
  const schema = narrowed ?? withPlainPatterns(spec.schema);
  const jsonSchema = { name: spec.name, schema, strict: narrowed !== undefined };
  return { request: { ...request, response_format: { type: "json_schema", json_schema: jsonSchema } }, mode };
}

/** Beside other tools any of them may be called first: the answer is the call that ends the turns. */
function askByTool(request: ChatRequest, { name, schema }: Asking): ChatRequest {
  const others = Array.isArray(request.tools) ? request.tools : [];
  if (others.some((tool) => tool?.function?.name === name)) {
    throw new InvalidRequestError({
      code: "invalid_schema",
      message: `the structured answer and a tool are both called "${name}"`,
      hint: "give the answer's schema another name",
    });
  }
  const about = typeof schema.description === "string" ? ` ${schema.description}` : "";
  const tool = {
    type: "function",
    function: {
      name,
      description: `Gives the final answer.${about}`,
      parameters: withPlainPatterns(schema),
    },
  };
  const choice = others.length > 0 ? "required" : { type: "function", function: { name } };
  return { ...request, tools: [...others, tool], tool_choice: choice };
}

/** Joined to the first system message, since the small servers that need this mode often take no second one. */
function askByPrompt(request: ChatRequest, { schema }: Asking): ChatRequest {
  const wish =
    "Answer with one JSON value that fits this JSON Schema, and with nothing else: no explanation, no code fence.\n" +
    JSON.stringify(schema);
  const [first, ...rest] = request.messages;
  const isSystem = first?.role === "system" && typeof first.content === "string";
  const messages: Message[] = isSystem
    ? [{ ...first, content: `${first.content}\n\n${wish}` }, ...rest]
    : [{ role: "system", content: wish }, ...request.messages];
  return { ...request, messages };
}

/** OpenAI and grammar-based servers refuse a whole request for a lookaround in a pattern, strict or not. */
function withPlainPatterns(schema: JsonSchema): JsonSchema {
  const copy = mapSchemas(schema, (at) => {
    if (at.pattern === undefined || isPlainPattern(at.pattern)) return at;
    const { pattern, ...rest } = at;
    return tellKeywords(rest, { pattern });
  });
  return isObject(copy) ? copy : schema;
}
