import { z } from "zod";
import { type ChatRequest, MAX_REQUEST_BYTES, numeric } from "../shared/chat.ts";
import { toEmbeddingRequest } from "../shared/embedding-input.ts";
import { WrittenNumber } from "../shared/exact-json.ts";
import { isObject } from "../shared/json.ts";
import type { Endpoint } from "./answer-forms.ts";
import { chatOfMessages } from "./anthropic-line.ts";
import { recordFields } from "./csv-rows.ts";
import { chatOfGemini } from "./gemini-line.ts";
import type { InputForm } from "./input-form.ts";
import { LineFields } from "./line-fields.ts";
import { askedBy, chatOfResponses } from "./responses-line.ts";
import { RowFault } from "./row-fault.ts";
import { parseObject } from "./row-object.ts";
import { parseRequest, schemaFault } from "./row-request.ts";

const MAX_CUSTOM_ID_CHARS = 512;

/** What an input line asks for. */
export interface ParsedRow {
  customId: string | undefined;
  /** The model as the row names it; undefined takes the run's. */
  modelName: string | undefined;
  /** Whose model a bare name is of; undefined: the provider of the run's model. */
  vendor?: Vendor;
  endpoint: Endpoint;
  request: ChatRequest;
  /** Whose words the request has, if not those of a chat request. */
  form?: VendorForm;
  /** What asks the same of a model whose server does not know that form; what that cannot say is its fault. */
  asChat?: ChatRequest | RowFault;
}

/** Returns the request that a row's model is asked by. @throws RowFault when its server cannot be asked that */
export function requestFor(
  { request, form, asChat }: ParsedRow,
  speaks: (form: VendorForm) => boolean,
): ChatRequest {
  if (form === undefined || asChat === undefined || speaks(form)) return request;
  if (asChat instanceof RowFault) throw asChat;
  return asChat;
}

export type Vendor = "anthropic" | "google";
/** A request that goes out in a vendor's own words: of OpenAI's Responses, Anthropic's Messages, or with fields of Google's. */
export type VendorForm = "responses" | Vendor;

const number = numeric(z.number());
/** `z.int()` takes none beyond 2^53. */
const integer = numeric(z.number().refine(Number.isInteger, "Invalid input: expected int"));
const nullish = <T extends z.ZodType>(schema: T) => schema.nullish();

/**
 * The parameters a plain line may carry. Names that are usual columns of datasets (metadata, user, n, prediction)
 * are not among them: OpenAI batch lines carry those.
 */
const plainParameters = z.object({
  temperature: nullish(number),
  top_p: nullish(number),
  max_tokens: nullish(integer),
  max_completion_tokens: nullish(integer),
  stop: nullish(z.union([z.string(), z.array(z.string())])),
  seed: nullish(integer),
  frequency_penalty: nullish(number),
  presence_penalty: nullish(number),
  logit_bias: nullish(z.record(z.string(), number)),
  logprobs: nullish(z.boolean()),
  top_logprobs: nullish(integer),
  tools: nullish(z.array(z.looseObject({ type: z.string() }))),
  tool_choice: nullish(z.union([z.string(), z.looseObject({ type: z.string() })])),
  parallel_tool_calls: nullish(z.boolean()),
  response_format: nullish(z.looseObject({ type: z.string() })),
  reasoning_effort: nullish(z.string()),
  verbosity: nullish(z.string()),
});

type Fields = Record<string, unknown>;

/**
 * Reads an OpenAI batch line, `{prompt}` or `{messages}`; with `promptField` a line whose prompt is that field. `data` is a
 * row as its file's form has it.
 * @throws RowFault with the line's custom_id when that much could be read.
 */
export function parseRow(data: Buffer, form: InputForm, promptField: string | undefined): ParsedRow {
  const fields = form.format === "csv" ? recordFields(data, form, promptField) : parseObject(data);
  return parseFields(fields, promptField);
}

/** Reads the fields of such a line. @throws RowFault */
export function parseFields(fields: Fields, promptField: string | undefined): ParsedRow {
  const isPlain = promptField !== undefined || "prompt" in fields || "messages" in fields;
  const isGemini = !isPlain && isObject(fields.request);
  const customId = readCustomId(isGemini ? (fields.key ?? fields.custom_id) : fields.custom_id);
  try {
    if (isPlain) return { customId, ...plainRow(fields, promptField) };
    if ("body" in fields) return { customId, ...openAIRow(fields) };
    if (isGemini) return { customId, vendor: "google", ...geminiRow(fields.request) };
    if (isObject(fields.params)) return { customId, vendor: "anthropic", ...messagesRow(fields.params) };
    return { customId, ...plainRow(fields, promptField) };
  } catch (error) {
    if (error instanceof RowFault) error.customId = customId;
    throw error;
  }
}

export function tooLongFault(): RowFault {
  const mebibytes = MAX_REQUEST_BYTES / 1024 / 1024;
  return new RowFault("line_too_long", `the line is longer than ${mebibytes} MiB`, "shorten the request");
}

function readCustomId(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  const isText = typeof value === "string" && value !== "" && value.length <= MAX_CUSTOM_ID_CHARS;
  if (isText || typeof value === "number") return String(value);
  if (value instanceof WrittenNumber && value.text.length <= MAX_CUSTOM_ID_CHARS)
    return value.isHeld ? String(value.valueOf()) : value.text;
  throw new RowFault(
    "invalid_custom_id",
    `custom_id is not a text of 1 to ${MAX_CUSTOM_ID_CHARS} characters`,
    "write it as text, or leave it out",
  );
}

function openAIRow({ method, url, body }: Fields): Omit<ParsedRow, "customId"> {
  if (method !== "POST")
    throw new RowFault("invalid_method", 'method is not "POST"', 'write "method":"POST"');
  // A full address counts by its path; the server is that of the model's provider.
  const path = typeof url === "string" ? (/^[^?#]*?(?=\/*(?:[?#]|$))/.exec(url)?.[0] ?? "") : "";
  if (!isObject(body)) throw new RowFault("invalid_request", "body is not an object");
  if (path.endsWith("/chat/completions")) return chatRow(body, "body.");
  if (path.endsWith("/embeddings"))
    return { ...chatRow(chatOfEmbeddings(body), "body."), endpoint: "embeddings" };
  if (path.endsWith("/responses")) return responsesRow(body);
  throw new RowFault(
    "invalid_url",
    "url ends in none of /chat/completions, /embeddings and /responses",
    "other endpoints are not supported",
  );
}

function chatRow({ model, ...request }: Fields, prefix: string): Omit<ParsedRow, "customId"> {
  const modelName = optionalText(`${prefix}model`, model);
  return { modelName, endpoint: "chat", request: parseRequest(request, prefix) };
}

/** What a chat request cannot say goes out as it is, to a provider of Anthropic's dialect. */
function messagesRow(params: Fields): Omit<ParsedRow, "customId"> {
  const { model, ...anthropic } = params;
  const { max_tokens, temperature, messages, stream } = params;
  const asItIs = () => ({
    model,
    messages: [{ role: "user", content: askedBy(messages) }],
    ...(max_tokens != null && { max_tokens }),
    ...(temperature != null && { temperature }),
    ...(stream === true && { stream }),
    anthropic,
  });
  return chatOrForm(() => chatOfMessages(params), "params.", "anthropic", asItIs);
}

/** Google's servers of OpenAI's dialect take some of its own fields. */
function geminiRow(value: unknown): Omit<ParsedRow, "customId"> {
  const chatOf = (isGoogle: boolean) => () => chatOfGemini(value, { isGoogle });
  return chatOrForm(chatOf(false), "request.", "google", chatOf(true));
}

/** A chat request; where a line says more than that, a request in its vendor's form. @throws RowFault */
function chatOrForm(
  toChat: () => Fields,
  prefix: string,
  form: VendorForm,
  inForm: () => Fields,
): Omit<ParsedRow, "customId"> {
  try {
    return chatRow(toChat(), prefix);
  } catch (error) {
    if (!(error instanceof RowFault && error.code === "cannot_translate")) throw error;
    try {
      return { ...chatRow(inForm(), prefix), form, asChat: error };
    } catch {
      throw error;
    }
  }
}

/** Goes out as it is; beside it stands what this side looks at: what is asked, the limit of the answer, the cache's rule. */
function responsesRow(body: Fields): Omit<ParsedRow, "customId"> {
  const { model, ...responses } = body;
  for (const name of ["stream", "background"]) {
    if (body[name] === true)
      throw new RowFault("invalid_request", `body.${name} is true`, "leave it out: a row has one answer");
  }
  const { max_output_tokens: limit, temperature, input } = body;
  const request = {
    // A stored prompt may need no input.
    messages: [{ role: "user", content: input == null && isObject(body.prompt) ? "" : askedBy(input) }],
    ...(limit != null && { max_completion_tokens: limit }),
    ...(temperature != null && { temperature }),
    responses,
  };
  const row = {
    ...chatRow({ model, ...request }, "body."),
    endpoint: "responses",
    form: "responses",
  } as const;
  try {
    return { ...row, asChat: chatRow(chatOfResponses(body), "body.").request };
  } catch (error) {
    if (error instanceof RowFault) return { ...row, asChat: error };
    throw error;
  }
}

/** Each text is a message of its own; see `embedding` of `ChatRequest`. */
function chatOfEmbeddings(body: Fields): Fields {
  const fields = new LineFields(body, "body");
  const input = fields.take("input");
  const asked = toEmbeddingRequest(input);
  if (!asked)
    throw new RowFault("invalid_request", "body.input is no text or token ids, and no list of them");
  const request = {
    model: fields.take("model"),
    messages: asked.messages,
    embedding: {
      ...fields.pass("dimensions", "encoding_format", "user"),
      ...(asked.tokens && { tokens: asked.tokens }),
    },
  };
  fields.end();
  return request;
}

function plainRow(fields: Fields, promptField: string | undefined): Omit<ParsedRow, "customId"> {
  const modelName = optionalText("model", fields.model);
  const system = optionalText("system", fields.system);
  const messages = readMessages(fields, promptField);
  if (system && Array.isArray(messages)) messages.unshift({ role: "system", content: system });
  const parameters = plainParameters.safeParse(fields);
  if (!parameters.success) throw schemaFault(parameters.error, "");
  // As the line has them: what the schema returns are copies.
  const names = Object.keys(parameters.data).filter((name) => fields[name] != null);
  const given = Object.fromEntries(names.map((name) => [name, fields[name]]));
  return { modelName, endpoint: "chat", request: parseRequest({ messages, ...given }, "") };
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
  if (prompt === undefined && Array.isArray(fields.requests)) {
    throw new RowFault("missing_prompt", "the rows are within requests", "write the list of requests alone");
  }
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
