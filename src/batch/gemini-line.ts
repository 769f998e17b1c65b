import { isObject } from "../shared/json.ts";
import { cannotTranslate, LineFields, present } from "./line-fields.ts";

/**
 * Returns the `request` of a line of Gemini's batches as a chat request; both spellings of its fields are read. With
 * `isGoogle` it goes to a server of Google's, which takes `thinkingConfig`, `safetySettings` and `cachedContent` too.
 * @throws RowFault naming what a chat request cannot say, such as `topK`, or `safetySettings` without `isGoogle`
 */
export function chatOfGemini(value: unknown, { isGoogle }: { isGoogle: boolean }): Record<string, unknown> {
  const fields = new LineFields(value, "request");
  const system = fields.take("systemInstruction", "system_instruction");
  const contents = fields.take("contents");
  const list = Array.isArray(contents) ? contents : contents === undefined ? [] : [contents];
  const config = fields.inner("generationConfig", "generation_config");
  const tools = fields.list("tools")?.flatMap((tool, i) => toTools(tool, `request.tools.${i}`));
  const choice = fields
    .inner("toolConfig", "tool_config")
    .inner("functionCallingConfig", "function_calling_config");
  const request = present({
    model: fields.text("model")?.replace(/^models\//, ""),
    messages: [
      ...(system === undefined
        ? []
        : toMessages(isObject(system) ? { ...system, role: "system" } : system, "request.systemInstruction")),
      ...list.flatMap((content, i) => toMessages(content, `request.contents.${i}`)),
    ],
    temperature: config.take("temperature"),
    top_p: config.take("topP", "top_p"),
    max_tokens: config.take("maxOutputTokens", "max_output_tokens"),
    stop: config.take("stopSequences", "stop_sequences"),
    n: config.take("candidateCount", "candidate_count"),
    seed: config.take("seed"),
    presence_penalty: config.take("presencePenalty", "presence_penalty"),
    frequency_penalty: config.take("frequencyPenalty", "frequency_penalty"),
    response_format: toFormat(config),
    tools: tools?.length ? tools : undefined,
    tool_choice: toChoice(choice),
    extra_body: isGoogle ? googleFields(fields, config) : undefined,
  });
  for (const each of [choice, config, fields]) each.end();
  return request;
}

/** In the words of Google's OpenAI dialect. */
function googleFields(fields: LineFields, config: LineFields): unknown {
  const google = present({
    thinking_config: inSnakeCase(config.take("thinkingConfig", "thinking_config")),
    safety_settings: fields.take("safetySettings", "safety_settings"),
    cached_content: fields.take("cachedContent", "cached_content"),
  });
  return Object.keys(google).length > 0 ? { google } : undefined;
}

function inSnakeCase(value: unknown): unknown {
  if (!isObject(value)) return value;
  const toSnake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [toSnake(name), field]));
}

/** Function results are messages of their own. Gemini's calls have no ids: the name stands for one. */
function toMessages(content: unknown, path: string): unknown[] {
  const fields =
    typeof content === "string"
      ? new LineFields({ parts: [{ text: content }] }, path)
      : new LineFields(content, path);
  const role = fields.text("role") ?? "user";
  const parts: unknown[] = [];
  const calls: unknown[] = [];
  const results: unknown[] = [];
  const list = fields.take("parts");
  fields.end();
  for (const [i, value] of (Array.isArray(list) ? list : [list]).entries()) {
    const part =
      typeof value === "string"
        ? new LineFields({ text: value }, path)
        : new LineFields(value, `${path}.parts.${i}`);
    const call = part.take("functionCall", "function_call");
    const result = part.take("functionResponse", "function_response");
    if (call !== undefined) calls.push(toCall(new LineFields(call, `${part.path}.functionCall`)));
    else if (result !== undefined)
      results.push(toResult(new LineFields(result, `${part.path}.functionResponse`)));
    else parts.push(toPart(part));
    part.end();
  }
  const words = role === "model" ? "assistant" : role;
  const said = {
    role: words,
    content: parts.length > 0 ? parts : null,
    ...(calls.length > 0 && { tool_calls: calls }),
  };
  return parts.length > 0 || calls.length > 0 ? [...results, said] : results;
}

function toPart(part: LineFields): unknown {
  const text = part.text("text");
  if (text !== undefined) return { type: "text", text };
  const data = part.inner("inlineData", "inline_data");
  const type = data.text("mimeType", "mime_type");
  const bytes = data.text("data");
  data.end();
  if (type === undefined || bytes === undefined) {
    part.end();
    throw cannotTranslate(part.path);
  }
  const url = `data:${type};base64,${bytes}`;
  return type.startsWith("image/")
    ? { type: "image_url", image_url: { url } }
    : { type: "file", file: { file_data: url } };
}

function toCall(call: LineFields): unknown {
  const name = call.text("name");
  const made = { name, arguments: JSON.stringify(call.take("args") ?? {}) };
  const id = call.take("id") ?? name;
  call.end();
  return { id, type: "function", function: made };
}

function toResult(result: LineFields): unknown {
  const id = result.take("id", "name");
  result.take("name");
  const content = JSON.stringify(result.take("response") ?? {});
  result.end();
  return { role: "tool", tool_call_id: id, content };
}

function toTools(value: unknown, path: string): unknown[] {
  const fields = new LineFields(value, path);
  const declared = fields.list("functionDeclarations", "function_declarations") ?? [];
  fields.end();
  return declared.map((each, i) => {
    const one = new LineFields(each, `${path}.functionDeclarations.${i}`);
    const schema =
      one.take("parametersJsonSchema", "parameters_json_schema") ?? inLowerCase(one.take("parameters"));
    const made = { ...one.pass("name", "description"), ...present({ parameters: schema }) };
    one.end();
    return { type: "function", function: made };
  });
}

function toChoice(choice: LineFields): unknown {
  const mode = choice.text("mode")?.toLowerCase();
  return mode === "any" ? "required" : mode;
}

function toFormat(config: LineFields): unknown {
  const type = config.text("responseMimeType", "response_mime_type");
  const schema =
    config.take("responseJsonSchema", "response_json_schema") ??
    inLowerCase(config.take("responseSchema", "response_schema"));
  if (schema !== undefined) return { type: "json_schema", json_schema: { name: "answer", schema } };
  if (type === "application/json") return { type: "json_object" };
  if (type === undefined || type === "text/plain") return undefined;
  throw cannotTranslate(`request.generationConfig.responseMimeType ${type.slice(0, 40)}`);
}

/** Gemini's own schemas write types in capitals. */
function inLowerCase(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(inLowerCase);
  if (!isObject(schema)) return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [
      name,
      name === "type" && typeof value === "string" ? value.toLowerCase() : inLowerCase(value),
    ]),
  );
}
