import { randomUUID } from "node:crypto";
import type { ChatCompletion, FinishReason } from "../shared/chat.ts";
import { isObject } from "../shared/json.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { estimatePromptTokens, textTokens } from "../shared/token-estimate.ts";
import { readTokenUse } from "../shared/token-use.ts";
import { type AnswerToolCall, toToolCalls } from "../shared/tool-calls.ts";
import type { HttpReply } from "./call.ts";
import type { Content } from "./content.ts";
import { readFinishReason } from "./finish-reason.ts";
import type { ProviderCall, ProviderReply } from "./provider.ts";
import { unusableAnswer } from "./provider-errors.ts";
import { joinReasoning } from "./reasoning.ts";
import { splitThinking } from "./think-tags.ts";
import { usageOf } from "./usage.ts";

type Fields = Record<string, unknown>;
type Choice = ChatCompletion["choices"][number];

/** An answer, and what it answers. */
export interface Answered {
  entry: ProviderEntry;
  call: ProviderCall;
  answer: HttpReply;
}

/** What a dialect's reader found of one choice. */
export interface FoundChoice {
  /** Fields of the vendor's own, which stay beside those of the normal form. */
  choice: Fields;
  message: Fields;
  content: Content;
  /** What the model thought, where it stands in fields of its own. */
  reasoning: string;
  /** Each in one of the forms that `toToolCalls` reads. */
  toolCalls: unknown;
  finishReason: unknown;
}

/** What a dialect's reader found around the choices. */
interface FoundBody {
  /** Where vendors write the usage. */
  usage: { body: Fields; choices?: readonly Fields[] };
  /** Other fields of the vendor's own. */
  rest: Fields;
}

/** Returns the id of a tool call whose server gave it none: no other call of the conversation has it. */
export function makeCallId(): string {
  return `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`;
}

/** Returns the body of an answer as an object. @throws APIConnectionError `invalid_response` */
export function bodyOf({ entry, answer }: Answered): Fields {
  const { data } = answer;
  if (!data) throw unusableAnswer(entry, "it is empty", answer);
  if (!isObject(data)) throw unusableAnswer(entry, "it is not JSON of an answer", answer);
  return data;
}

/**
 * Returns a choice in its normal form.
 * @throws APIConnectionError `invalid_response` when its finish reason says that it is none, or there is nothing in it
 */
export function toChoice({ entry, answer }: Answered, found: FoundChoice, index: number): Choice {
  const { content, finishReason } = found;
  const split = splitThinking(content.text ?? "");
  const reasoning = joinReasoning([found.reasoning || content.reasoning, split.reasoning]);
  const refusal = textOf(found.message.refusal) || content.refusal;
  const toolCalls = toToolCalls(found.toolCalls, makeCallId);
  const word = readFinishReason(finishReason);
  if (word === "unknown") throw unusableAnswer(entry, `its finish reason is ${shown(finishReason)}`, answer);
  const isEmpty = split.text === "" && reasoning === "" && refusal === "" && !toolCalls;
  if (isEmpty && !word) throw unusableAnswer(entry, "its message is empty", answer);
  const reason = finishReasonOf(word, toolCalls, refusal);
  return {
    ...found.choice,
    index,
    message: {
      ...found.message,
      role: "assistant",
      content: split.text === "" && (toolCalls || reason === "content_filter") ? null : split.text,
      ...(refusal && { refusal }),
      ...(reasoning && { reasoning }),
      ...(content.parts && { content_parts: content.parts }),
      ...(toolCalls && { tool_calls: toolCalls }),
    },
    finish_reason: reason,
    ...(typeof finishReason === "string" &&
      finishReason !== reason && { native_finish_reason: found.choice.native_finish_reason ?? finishReason }),
  };
}

function finishReasonOf(
  word: FinishReason | undefined,
  toolCalls: AnswerToolCall[] | undefined,
  refusal: string,
): FinishReason {
  if (toolCalls) return word === undefined || word === "stop" ? "tool_calls" : word;
  if (refusal) return "content_filter";
  return word ?? "stop";
}

/** Returns the reply in its normal form, its usage guessed where the provider does not say it. */
export function toReply(
  { call, answer }: Answered,
  { usage, rest }: FoundBody,
  choices: Choice[],
): Omit<ProviderReply, "charged"> {
  const id = textOf(rest.id);
  const { requestId, statusCode } = answer;
  const guess = {
    prompt: () => estimatePromptTokens(call.request),
    completion: () => choices.reduce((sum, choice) => sum + answerTokens(choice), 0),
  };
  const body: ChatCompletion = {
    ...rest,
    id: id || requestId || call.requestId,
    object: "chat.completion",
    created: isTime(rest.created) ? rest.created : Math.floor(Date.now() / 1000),
    model: textOf(rest.model) || call.model,
    choices,
    usage: usageOf(usage.body, usage.choices ?? [], guess),
  };
  return { statusCode, requestId: requestId || id, body, tokens: readTokenUse(body.usage) };
}

function answerTokens({ message }: Choice): number {
  const called = (message.tool_calls ?? []).map(({ function: { name, arguments: args } }) => name + args);
  return textTokens([message.content, message.reasoning, message.refusal, ...called].join(""));
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

/** Returns a word of the provider's; a longer text may be anybody's. */
function shown(reason: unknown): string {
  const text = String(reason);
  return /^[\w.-]{1,40}$/.test(text) ? text : "none that is known";
}
