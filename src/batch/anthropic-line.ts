import { cannotTranslate, LineFields, present } from "./line-fields.ts";

interface Translation {
  /**
   * Whether the model's provider is known to have no such API: then what is for Anthropic's own sake is left out, and a tool's
   * failure is told in words. Default false: both are refused, so that a line can go out as it is.
   */
  isForOthers?: boolean;
}

/**
 * Returns the `params` of a line of Anthropic's Message Batches as a chat request.
 * @throws RowFault naming what a chat request cannot say, such as `thinking` or `top_k`
 */
export function chatOfMessages(params: unknown, how: Translation = {}): Record<string, unknown> {
  const fields = new LineFields(params, "params");
  fields.ignore({ stream: false });
  const system = fields.take("system");
  const messages = fields.list("messages") ?? [];
  const metadata = fields.inner("metadata");
  const output = fields.inner("output_config");
  const choice = fields.inner("tool_choice");
  const request = present({
    model: fields.take("model"),
    messages: [
      ...(system === undefined ? [] : [{ role: "system", content: toContent(system, "params.system") }]),
      ...messages.flatMap((message, i) => toMessages(message, `params.messages.${i}`, how)),
    ],
    max_tokens: fields.take("max_tokens"),
    stop: fields.take("stop_sequences"),
    tools: fields.list("tools")?.map((tool, i) => toTool(tool, `params.tools.${i}`)),
    tool_choice: toChoice(choice),
    parallel_tool_calls: choice.take("disable_parallel_tool_use") === true ? false : undefined,
    response_format: toFormat(output),
    reasoning_effort: output.take("effort"),
    user: metadata.take("user_id"),
    ...fields.pass("temperature", "top_p"),
  });
  for (const each of [metadata, output, choice, fields]) each.end();
  return request;
}

/** A message with tool results is several: the results, then what is said besides. */
function toMessages(message: unknown, path: string, how: Translation): unknown[] {
  const fields = new LineFields(message, path);
  const role = fields.text("role");
  const content = fields.take("content");
  fields.end();
  if (!Array.isArray(content)) return [{ role, content }];
  const blocks = content.map((block, i) => new LineFields(block, `${path}.content.${i}`));
  const parts: unknown[] = [];
  const calls: unknown[] = [];
  const results: unknown[] = [];
  for (const block of blocks) {
    const type = block.text("type");
    if (type === "tool_use") calls.push(toCall(block, how));
    else if (type === "tool_result") results.push(toResult(block, how));
    else parts.push(toPart(block, type));
    block.end();
  }
  const said = {
    role,
    content: parts.length > 0 ? parts : null,
    ...(calls.length > 0 && { tool_calls: calls }),
  };
  return parts.length > 0 || calls.length > 0 ? [...results, said] : results;
}

function toCall(block: LineFields, { isForOthers = false }: Translation): unknown {
  if (isForOthers) block.take("cache_control", "caller");
  const called = { name: block.take("name"), arguments: JSON.stringify(block.take("input") ?? {}) };
  return { id: block.take("id"), type: "function", function: called };
}

function toResult(block: LineFields, { isForOthers = false }: Translation): unknown {
  block.ignore({ is_error: false });
  if (isForOthers) block.take("cache_control");
  const content = toContent(block.take("content") ?? "", `${block.path}.content`);
  const id = block.take("tool_use_id");
  const isError = isForOthers && block.take("is_error") === true;
  return { role: "tool", tool_call_id: id, content: isError ? asError(content) : content };
}

function asError(content: unknown): unknown {
  return Array.isArray(content) ? [{ type: "text", text: "Error:" }, ...content] : `Error: ${content}`;
}

function toContent(content: unknown, path: string): unknown {
  if (!Array.isArray(content)) return content;
  return content.map((value, i) => {
    const block = new LineFields(value, `${path}.${i}`);
    const part = toPart(block, block.text("type"));
    block.end();
    return part;
  });
}

/** `cache_control` stays on the part: Anthropic's adapter gives it back. */
function toPart(block: LineFields, type: string | undefined): unknown {
  block.ignore({ citations: [] });
  const kept = block.pass("cache_control");
  if (type === "text") return { type, text: block.text("text") ?? "", ...kept };
  if (type !== "image" && type !== "document")
    throw cannotTranslate(`${block.path} of the type ${String(type).slice(0, 40)}`);
  const source = block.inner("source");
  const kind = source.text("type");
  const url =
    kind === "base64"
      ? `data:${source.text("media_type")};base64,${source.text("data")}`
      : source.text("url");
  if (kind !== "base64" && !(kind === "url" && type === "image"))
    throw cannotTranslate(`${block.path}.source of the type ${String(kind).slice(0, 40)}`);
  source.end();
  if (type === "image") return { type: "image_url", image_url: { url }, ...kept };
  return { type: "file", file: present({ file_data: url, filename: block.text("title") }), ...kept };
}

function toTool(value: unknown, path: string): unknown {
  const tool = new LineFields(value, path);
  tool.ignore({ type: "custom" });
  const made = { ...tool.pass("name", "description", "strict"), parameters: tool.take("input_schema") };
  const kept = tool.pass("cache_control");
  tool.end();
  return { type: "function", function: made, ...kept };
}

function toChoice(choice: LineFields): unknown {
  const type = choice.text("type");
  if (type === "tool") return { type: "function", function: { name: choice.take("name") } };
  return type === "any" ? "required" : type;
}

function toFormat(output: LineFields): unknown {
  const format = output.inner("format");
  const type = format.take("type");
  const schema = format.take("schema");
  format.end();
  return type === undefined ? undefined : { type, json_schema: { name: "answer", schema } };
}
