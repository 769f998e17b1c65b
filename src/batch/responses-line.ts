import { isObject } from "../shared/json.ts";
import { cannotTranslate, LineFields, present } from "./line-fields.ts";
import { RowFault } from "./row-fault.ts";

/** Parameters that Chat Completions has under the same name. */
const SAME = [
  "temperature",
  "top_p",
  "metadata",
  "user",
  "store",
  "service_tier",
  "parallel_tool_calls",
  "prompt_cache_key",
  "prompt_cache_retention",
  "safety_identifier",
  "top_logprobs",
];
const USUAL = { stream: false, background: false, truncation: "disabled", include: [] };

/**
 * Returns the body of a /v1/responses line as a chat request.
 * @throws RowFault naming what a chat request cannot say, such as built-in tools or an earlier response
 */
export function chatOfResponses(body: unknown): Record<string, unknown> {
  const fields = new LineFields(body, "body");
  fields.ignore(USUAL);
  const instructions = fields.text("instructions");
  const input = fields.take("input");
  const text = fields.inner("text");
  const reasoning = fields.inner("reasoning");
  const request = present({
    model: fields.take("model"),
    messages: [
      ...(instructions === undefined ? [] : [{ role: "system", content: instructions }]),
      ...toMessages(input),
    ],
    max_completion_tokens: fields.take("max_output_tokens"),
    response_format: toFormat(text.take("format")),
    verbosity: text.take("verbosity"),
    reasoning_effort: reasoning.take("effort"),
    tools: fields.list("tools")?.map(toTool),
    tool_choice: toChoice(fields.take("tool_choice")),
    ...fields.pass(...SAME),
  });
  text.end();
  reasoning.end();
  fields.end();
  return request;
}

/** Returns the text of the last thing that is asked. @throws RowFault when there is no input */
export function askedBy(input: unknown): string {
  if (typeof input === "string") return input;
  if (!Array.isArray(input)) throw new RowFault("invalid_request", "body.input is neither a text nor a list");
  const texts = input.flatMap((item) => {
    const content = isObject(item) ? item.content : undefined;
    return Array.isArray(content) ? content.map((part) => (isObject(part) ? part.text : "")) : [content];
  });
  return String(texts.findLast((text) => typeof text === "string" && text !== "") ?? "");
}

function toMessages(input: unknown): unknown[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  if (!Array.isArray(input)) throw new RowFault("invalid_request", "body.input is neither a text nor a list");
  return input.map((item, i) => toMessage(item, `body.input.${i}`));
}

function toMessage(item: unknown, path: string): unknown {
  const fields = new LineFields(item, path);
  const type = fields.text("type") ?? "message";
  if (type === "function_call_output") {
    const result = { role: "tool", tool_call_id: fields.take("call_id"), content: fields.text("output") };
    fields.take("id", "status");
    fields.end();
    return result;
  }
  if (type === "function_call") {
    const call = { name: fields.text("name"), arguments: fields.text("arguments") };
    const calls = [{ id: fields.take("call_id"), type: "function", function: call }];
    fields.take("id", "status");
    fields.end();
    return { role: "assistant", content: null, tool_calls: calls };
  }
  if (type !== "message") throw cannotTranslate(`${path} of the type ${type.slice(0, 40)}`);
  const content = fields.take("content");
  const message = {
    role: fields.take("role"),
    content: Array.isArray(content)
      ? content.map((part, i) => toPart(part, `${path}.content.${i}`))
      : content,
  };
  // What an earlier answer brings along.
  fields.take("id", "status");
  fields.end();
  return message;
}

function toPart(part: unknown, path: string): unknown {
  const fields = new LineFields(part, path);
  const type = fields.text("type");
  fields.ignore({ annotations: [], logprobs: [], detail: "auto" });
  const made = () => {
    if (type === "input_text" || type === "output_text") return { type: "text", text: fields.take("text") };
    if (type === "input_image") {
      const image = present({ url: fields.take("image_url"), detail: fields.take("detail") });
      return { type: "image_url", image_url: image };
    }
    if (type === "input_file") return { type: "file", file: fields.pass("file_data", "file_id", "filename") };
    throw cannotTranslate(`${path} of the type ${String(type).slice(0, 40)}`);
  };
  const translated = made();
  fields.end();
  return translated;
}

function toFormat(format: unknown): unknown {
  if (format === undefined) return undefined;
  const { type, ...schema } = isObject(format) ? format : {};
  if (type === "text") return undefined;
  return type === "json_schema" ? { type, json_schema: schema } : format;
}

function toTool(tool: unknown, i: number): unknown {
  const { type, ...rest } = isObject(tool) ? tool : {};
  if (type === "function") return { type, function: rest };
  throw cannotTranslate(`body.tools.${i} of the type ${String(type).slice(0, 40)}`);
}

function toChoice(choice: unknown): unknown {
  if (!isObject(choice)) return choice;
  if (choice.type === "function") return { type: "function", function: { name: choice.name } };
  throw cannotTranslate(`body.tool_choice of the type ${String(choice.type).slice(0, 40)}`);
}
