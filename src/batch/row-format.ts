import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { type ChatRequest, chatRequestSchema, MAX_REQUEST_BYTES } from "../shared/chat.ts";
import { isObject, parseJson } from "../shared/json.ts";
import { RowFault } from "./row-fault.ts";

const URL = "/v1/chat/completions";
const MAX_CUSTOM_ID_CHARS = 512;

/** What an input line asks for. */
export interface ParsedRow {
  customId: string | undefined;
  /** The model as the row names it; undefined takes the run's. */
  modelName: string | undefined;
  request: ChatRequest;
}

const nullish = <T extends z.ZodType>(schema: T) => schema.nullish();

/**
 * The parameters a plain line may carry. Names that are usual columns of datasets (metadata, user, n, prediction)
 * are not among them: OpenAI batch lines carry those.
 */
const plainParameters = z.object({
  temperature: nullish(z.number()),
  top_p: nullish(z.number()),
  max_tokens: nullish(z.int()),
  max_completion_tokens: nullish(z.int()),
  stop: nullish(z.union([z.string(), z.array(z.string())])),
  seed: nullish(z.int()),
  frequency_penalty: nullish(z.number()),
  presence_penalty: nullish(z.number()),
  logit_bias: nullish(z.record(z.string(), z.number())),
  logprobs: nullish(z.boolean()),
  top_logprobs: nullish(z.int()),
  tools: nullish(z.array(z.looseObject({ type: z.string() }))),
  tool_choice: nullish(z.union([z.string(), z.looseObject({ type: z.string() })])),
  parallel_tool_calls: nullish(z.boolean()),
  response_format: nullish(z.looseObject({ type: z.string() })),
  reasoning_effort: nullish(z.string()),
  verbosity: nullish(z.string()),
});

type Fields = Record<string, unknown>;

/**
 * Reads an OpenAI batch line, `{prompt}` or `{messages}`; with `promptField` a line whose prompt is that field.
 * @throws RowFault with the line's custom_id when that much could be read.
 */
export function parseRow(data: Buffer, promptField: string | undefined): ParsedRow {
  const fields = parseObject(data);
  const customId = readCustomId(fields.custom_id);
  try {
    const isOpenAILine =
      promptField === undefined && "body" in fields && !("prompt" in fields || "messages" in fields);
    const row = isOpenAILine ? openAIRow(fields) : plainRow(fields, promptField);
    return { customId, ...row };
  } catch (error) {
    if (error instanceof RowFault) error.customId = customId;
    throw error;
  }
}

export function tooLongFault(): RowFault {
  const mebibytes = MAX_REQUEST_BYTES / 1024 / 1024;
  return new RowFault("line_too_long", `the line is longer than ${mebibytes} MiB`, "shorten the request");
}

function parseObject(data: Buffer): Fields {
  if (!isUtf8(data)) {
    throw new RowFault("invalid_encoding", "the line is not UTF-8 text", "save the file as UTF-8");
  }
  const value = parseJson(data.toString());
  if (isObject(value)) return value;
  const fault = value === undefined ? "the line is not valid JSON" : "the line is not a JSON object";
  throw new RowFault("invalid_json_line", fault, "write one JSON object per line");
}

function readCustomId(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  const isText = typeof value === "string" && value !== "" && value.length <= MAX_CUSTOM_ID_CHARS;
  // A larger integer has lost digits already, so two different ones could look alike.
  const isNumber = typeof value === "number" && (Number.isSafeInteger(value) || !Number.isInteger(value));
  if (isText || isNumber) return String(value);
  throw new RowFault(
    "invalid_custom_id",
    `custom_id is not a text of 1 to ${MAX_CUSTOM_ID_CHARS} characters`,
    "write it as text, or leave it out",
  );
}

function openAIRow({ method, url, body }: Fields): Omit<ParsedRow, "customId"> {
  if (method !== "POST")
    throw new RowFault("invalid_method", 'method is not "POST"', 'write "method":"POST"');
  if (url !== URL) throw new RowFault("invalid_url", `url is not "${URL}"`, `only ${URL} is supported`);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new RowFault("invalid_request", "body is not an object");
  }
  const { model, ...request } = body as Fields;
  return { modelName: optionalText("body.model", model), request: parseRequest(request, "body.") };
}

function plainRow(fields: Fields, promptField: string | undefined): Omit<ParsedRow, "customId"> {
  const modelName = optionalText("model", fields.model);
  const system = optionalText("system", fields.system);
  const messages = readMessages(fields, promptField);
  if (system && Array.isArray(messages)) messages.unshift({ role: "system", content: system });
  const parameters = plainParameters.safeParse(fields);
  if (!parameters.success) throw schemaFault(parameters.error, "");
  const given = Object.entries(parameters.data).filter(([, value]) => value !== null && value !== undefined);
  return { modelName, request: parseRequest({ messages, ...Object.fromEntries(given) }, "") };
}

function readMessages(fields: Fields, promptField: string | undefined): unknown {
  const name = promptField ?? "prompt";
  const prompt = fields[name] ?? undefined;
  const messages = promptField === undefined ? (fields.messages ?? undefined) : undefined;
  if (prompt !== undefined && messages !== undefined) {
    throw new RowFault(
      "invalid_request",
      "the line has both prompt and messages",
      "keep one of them, or choose with --prompt-field prompt",
    );
  }
  if (messages !== undefined) return Array.isArray(messages) ? [...messages] : messages;
  if (prompt === undefined) throw missingPrompt(promptField);
  if (typeof prompt !== "string" || prompt.trim() === "") {
    throw new RowFault("invalid_prompt", `${name} is not a text, or is empty`, "give every row a prompt");
  }
  return [{ role: "user", content: prompt }];
}

function missingPrompt(promptField: string | undefined): RowFault {
  return promptField === undefined
    ? new RowFault(
        "missing_prompt",
        "the line has no prompt, messages or body",
        "add one of them, or name the field with --prompt-field",
      )
    : new RowFault(
        "missing_prompt",
        `the line has no field "${promptField}"`,
        "add it, or name another field with --prompt-field",
      );
}

function optionalText(name: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  throw new RowFault("invalid_request", `${name} is not a text`, "write it as text, or leave it out");
}

function parseRequest(request: Fields, prefix: string): ChatRequest {
  const parsed = chatRequestSchema.safeParse(request);
  if (!parsed.success) throw schemaFault(parsed.error, prefix);
  return parsed.data;
}

/** Names the field and the rule; zod's messages do not quote values. */
function schemaFault(error: z.ZodError, prefix: string): RowFault {
  const issue = error.issues[0];
  return new RowFault(
    "invalid_request",
    `${prefix}${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is not valid"}`,
  );
}
