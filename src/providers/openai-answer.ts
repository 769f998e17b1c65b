import { toDouble } from "../shared/exact-json.ts";
import { isObject } from "../shared/json.ts";
import { readContent } from "./content.ts";
import { readFinishReason } from "./finish-reason.ts";
import { type Answered, bodyOf, type FoundChoice, toChoice, toReply } from "./normal-form.ts";
import type { ProviderReply } from "./provider.ts";
import { unusableAnswer } from "./provider-errors.ts";
import { reasoningFieldOf, reasoningText } from "./reasoning.ts";

type Fields = Record<string, unknown>;

/**
 * Reads a `chat.completion`, as OpenAI or any server of its dialect writes it. Needed is a choice with a message; what else is
 * absent, null or of another type is made up for.
 * @throws APIConnectionError `invalid_response` when there is no answer in it
 */
export function readChatAnswer(answered: Answered): Omit<ProviderReply, "charged"> {
  const { entry, call, answer } = answered;
  const data = bodyOf(answered);
  const { usage: _, choices: given, ...rest } = data;
  const choices = (Array.isArray(given) ? given : [given]).filter(isObject);
  const found = choices.flatMap((choice) => findChoice(choice) ?? []);
  if (found.length === 0) {
    const reason = choices.length > 0 ? "its choice holds no message" : "it holds no choice";
    throw unusableAnswer(entry, reason, answer);
  }
  const several = (toDouble(call.request.n) ?? 1) > 1 ? found : [joined(found)];
  const normal = several.map((choice, index) => toChoice(answered, choice, index));
  return toReply(answered, { usage: { body: data, choices }, rest }, normal);
}

/** Undefined for a choice without a message; one that the filter took away is an empty one. */
function findChoice(raw: Fields): FoundChoice | undefined {
  const { message, delta, text, finish_reason: finishReason, ...choice } = raw;
  const given = messageIn(message) ?? messageIn(delta) ?? messageIn(text);
  if (!given && readFinishReason(finishReason) !== "content_filter") return undefined;
  const { content, tool_calls: toolCalls, function_call: called, refusal, ...own } = given ?? {};
  const field = reasoningFieldOf(own);
  if (own.reasoning !== undefined && typeof own.reasoning !== "string") {
    if (isObject(own.reasoning) || Array.isArray(own.reasoning)) own.reasoning_object = own.reasoning;
    delete own.reasoning;
  }
  return {
    choice,
    message: typeof refusal === "string" || refusal === null ? { ...own, refusal } : own,
    content: readContent(content),
    reasoning: field ? reasoningText(own[field] ?? own.reasoning_object) : "",
    toolCalls: hasCalls(toolCalls) ? toolCalls : called,
    finishReason,
  };
}

function messageIn(value: unknown): Fields | undefined {
  if (typeof value === "string") return { content: value };
  return isObject(value) ? value : undefined;
}

function hasCalls(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : isObject(value);
}

/** Some servers write the text into one choice and the tool calls into the next, though one was asked for. */
function joined([first, ...others]: FoundChoice[]): FoundChoice {
  const all = [first as FoundChoice, ...others];
  const speaking = all.find(({ content }) => content.text) ?? (first as FoundChoice);
  const toolCalls = all.flatMap(({ toolCalls: calls }) => calls ?? []);
  const calling = all.find(({ toolCalls: calls }) => hasCalls(calls));
  return {
    ...speaking,
    toolCalls,
    finishReason: toolCalls.length > 0 ? calling?.finishReason : speaking.finishReason,
    reasoning: all.find(({ reasoning }) => reasoning)?.reasoning ?? "",
  };
}
