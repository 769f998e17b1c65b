import { fieldsOf, isObject, parseJson } from "../shared/json.ts";
import { readContent } from "./content.ts";
import { type Answered, bodyOf, toChoice, toReply } from "./normal-form.ts";
import type { ProviderReply } from "./provider.ts";
import { unusableAnswer } from "./provider-errors.ts";
import { joinReasoning, reasoningText } from "./reasoning.ts";

type Fields = Record<string, unknown>;

const THINKING: readonly unknown[] = ["thinking", "redacted_thinking"];
/** What the normal form says in its own words. */
const SAID: readonly unknown[] = [...THINKING, "text", "tool_use"];

/**
 * Reads an answer of Messages, as Anthropic or any server of its dialect writes it. Needed is its content; what else is absent,
 * null or of another type is made up for. Thinking blocks stay whole beside the normal form, since they are signed.
 * @throws APIConnectionError `invalid_response` when there is no answer in it
 */
export function readMessageAnswer(answered: Answered): Omit<ProviderReply, "charged"> {
  const { entry, call, answer } = answered;
  const data = bodyOf(answered);
  const { type, role, content, stop_reason: stopReason, stop_details, usage: _, ...own } = data;
  const rest = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== null));
  // Only a list is content in any case: a text by that name may be anything.
  const isMessage =
    Array.isArray(content) || type === "message" || role === "assistant" || stopReason != null;
  if (!isMessage || !("content" in data)) throw unusableAnswer(entry, "it holds no content", answer);
  const blocks = (Array.isArray(content) ? content : [content]).filter((block) => block != null);
  const ofType = (...types: unknown[]) =>
    blocks.filter((block) => types.includes(fieldsOf(block).type)) as Fields[];
  const thinking = ofType(...THINKING);
  const read = readContent(Array.isArray(content) ? blocks : content);
  const isSaid = (block: unknown) => !isObject(block) || SAID.includes(block.type);
  const choice = toChoice(
    answered,
    {
      choice: { logprobs: null, ...(stop_details != null && { stop_details }) },
      message: {
        refusal: read.text ? null : refusalIn(stop_details),
        ...(thinking.length > 0 && { thinking_blocks: thinking }),
      },
      content: { ...read, reasoning: "", parts: blocks.every(isSaid) ? undefined : blocks.map(toPart) },
      reasoning: joinReasoning(thinking.map((block) => reasoningText(block.thinking))),
      toolCalls: ofType("tool_use").map(toCall),
      finishReason: stopReason,
    },
    0,
  );
  // Who asked in the vendor's own words gets the vendor's own answer.
  const whole = call.request.anthropic && { message: { ...data, content: blocks.map(toPart) } };
  return toReply(answered, { usage: { body: data }, rest: { ...rest, ...whole } }, [choice]);
}

/** As it came in one piece: of a stream a call's input is a text. */
function toPart(block: unknown): unknown {
  const { argumentsText, ...rest } = fieldsOf(block);
  return typeof argumentsText === "string" ? { ...rest, input: parseJson(argumentsText) ?? {} } : block;
}

function toCall({ type: _, id, name, input, argumentsText, ...rest }: Fields): Fields {
  return { ...rest, id, function: { name, arguments: argumentsText ?? input ?? {} } };
}

/** The model's words about a refusal, where the provider tells them. */
function refusalIn(details: unknown): string | null {
  const { explanation } = fieldsOf(details);
  return typeof explanation === "string" && explanation !== "" ? explanation : null;
}
