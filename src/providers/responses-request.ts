import type { ChatRequest } from "../shared/chat.ts";
import { WrittenNumber } from "../shared/exact-json.ts";
import { fieldsOf, isObject } from "../shared/json.ts";
import type { ModelTraits } from "./model-traits.ts";
import { type ChatCall, leaveOutCacheControl } from "./openai-request.ts";
import { toInput } from "./responses-input.ts";
import { cannotHonour } from "./unsupported.ts";

type Fields = Record<string, unknown>;

/** What an earlier answer's reasoning is returned by, since nothing is stored at the provider. */
const ENCRYPTED = "reasoning.encrypted_content";
const LOGPROBS = "message.output_text.logprobs";
const HINT = 'leave it out, let the entry do so with dropParameters, or set its api to "chat" for this model';

/** The parameters of Chat Completions that Responses does not have, and their values that ask for nothing. */
const CHAT_ONLY: Readonly<Record<string, readonly unknown[]>> = {
  n: [1],
  stream: [false],
  stream_options: [],
  stop: [],
  seed: [],
  logit_bias: [],
  frequency_penalty: [0],
  presence_penalty: [0],
  modalities: [["text"]],
  audio: [],
  prediction: [],
  web_search_options: [],
  functions: [],
  function_call: [],
};

/**
 * Returns the body of a Responses call. A body that came as one (`request.responses`) goes out as it is; a chat request is
 * translated. Nothing is stored at the provider unless the call says so; what an answer's reasoning is returned by is asked for.
 * @throws InvalidRequestError naming the first parameter that Responses cannot honour
 */
export function toResponsesBody(call: ChatCall, traits: ModelTraits): Fields {
  const { entry, model, providerOptions = {}, isStreamed } = call;
  const streamed = isStreamed && { stream: true };
  if (call.request.responses) return { ...call.request.responses, ...streamed, model };
  const marked: Fields = { messages: call.request.messages, tools: call.request.tools };
  if (entry.cacheControl !== "send") leaveOutCacheControl(marked, entry);
  const { messages, tools, ...request } = withoutDropped({ ...call.request, ...marked } as ChatRequest, call);
  const { response_format, verbosity, reasoning_effort, tool_choice, logprobs, ...rest } = request;
  const { max_tokens, max_completion_tokens, ...parameters } = rest;
  const limit = max_completion_tokens ?? max_tokens;
  const { reasoning, text, tools: ownTools, include, ...options } = providerOptions;
  const asked = toTools([tools, ownTools].flat());
  return present({
    input: toInput(messages, { entry: entry.name, traits }),
    ...withoutChatOnly(parameters),
    max_output_tokens: limit ?? undefined,
    text: joined({ format: toFormat(response_format), verbosity: verbosity ?? undefined }, text),
    reasoning: joined({ effort: reasoning_effort ?? undefined }, reasoning),
    tools: asked.length > 0 ? asked : undefined,
    tool_choice: asked.length > 0 || isObject(tool_choice) ? toToolChoice(tool_choice) : undefined,
    include: toInclude(include, { logprobs, refusesEncrypted: traits.refusesEncrypted }),
    store: parameters.store ?? false,
    ...options,
    ...streamed,
    model,
  });
}

function withoutDropped(request: ChatRequest, { entry: { dropParameters = [] } }: ChatCall): ChatRequest {
  return Object.fromEntries(
    Object.entries(request).filter(([name]) => !dropParameters.includes(name)),
  ) as ChatRequest;
}

/** Parameters that are not known here go out as they are. */
function withoutChatOnly(parameters: Fields): Fields {
  for (const [name, usual] of Object.entries(CHAT_ONLY)) {
    const value = parameters[name];
    const plain = JSON.stringify(value instanceof WrittenNumber ? value.valueOf() : value);
    const isNeutral = value == null || usual.some((one) => JSON.stringify(one) === plain);
    if (!isNeutral) throw cannotHonour(name, HINT, "OpenAI's Responses");
  }
  return Object.fromEntries(
    Object.entries(parameters).filter(([name, value]) => value !== null && !(name in CHAT_ONLY)),
  );
}

function toFormat(format: unknown): unknown {
  const { type, json_schema: schema, ...rest } = fieldsOf(format);
  if (type === undefined || type === "text") return undefined;
  return type === "json_schema" ? { type, ...rest, ...fieldsOf(schema) } : format;
}

/** Functions stand flat. What is not said to be strict is not: Responses would take it for strict. */
function toTools(tools: readonly unknown[]): Fields[] {
  return tools.filter(isObject).map((tool) => {
    const { type, function: called, custom, ...rest } = tool;
    if (isObject(called)) return { type, ...rest, ...called, strict: called.strict ?? false };
    return isObject(custom) ? { type, ...rest, ...custom } : tool;
  });
}

function toToolChoice(choice: unknown): unknown {
  if (!isObject(choice)) return choice ?? undefined;
  const { type, function: called, custom, allowed_tools: allowed, ...rest } = choice;
  const { tools, ...inner } = fieldsOf(allowed);
  const named = Array.isArray(tools) ? { tools: tools.map(toToolChoice) } : {};
  return { type, ...rest, ...fieldsOf(called), ...fieldsOf(custom), ...inner, ...named };
}

function toInclude(
  given: unknown,
  { logprobs, refusesEncrypted }: { logprobs: unknown; refusesEncrypted: boolean | undefined },
): unknown[] | undefined {
  const wanted = [
    ...(Array.isArray(given) ? given : []),
    ...(refusesEncrypted ? [] : [ENCRYPTED]),
    ...(logprobs === true ? [LOGPROBS] : []),
  ];
  return wanted.length > 0 ? [...new Set(wanted)] : undefined;
}

/** Returns the fields with what the call says in the provider's own words, which counts; undefined when there are none. */
function joined(fields: Fields, own: unknown): Fields | undefined {
  const all = present({ ...fields, ...fieldsOf(own) });
  return Object.keys(all).length > 0 ? all : undefined;
}

function present(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
