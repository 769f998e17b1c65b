import type { Message } from "../shared/chat.ts";
import { fieldsOf, isObject } from "../shared/json.ts";

/*
 * What a provider wants back verbatim of a message that it wrote. History keeps it beside the message, under the name of
 * the provider entry, and it is returned to that entry alone: to others it means nothing, and many refuse it.
 */

type Fields = Record<string, unknown>;

/** Of one entry's message: fields of the message, and of its tool calls by their place. */
export interface VendorState {
  message?: Fields;
  calls?: (Fields | null)[];
}

/**
 * The fields of a message: Gemini's `extra_content` (thought signatures), `reasoning_content` of DeepSeek, Kimi and GLM,
 * `reasoning_details` of OpenRouter and MiniMax, Anthropic's thinking blocks with their signatures, the items of Responses.
 */
const MESSAGE_FIELDS = [
  "extra_content",
  "reasoning_content",
  "reasoning_details",
  "thinking_blocks",
  "response_items",
] as const;
/** What Anthropic's own tools wrote into an answer: it goes back with all that stands around it. */
const SERVER_BLOCK = /^(server_tool_use|mcp_tool_use|container_upload|fallback|compaction|\w+_tool_result)$/;
const CALL_FIELDS = ["extra_content"] as const;

/** Returns what a provider wants back of the message in its answer; undefined when that is nothing. */
export function vendorStateOf(message: unknown): VendorState | undefined {
  const fields = fieldsOf(message);
  const calls = (Array.isArray(fields.tool_calls) ? fields.tool_calls : []).map((call) =>
    pick(call, CALL_FIELDS),
  );
  const { content_parts: parts } = fields;
  const state: VendorState = {
    ...nonEmpty({
      message: pick(fields, hasServerBlocks(parts) ? [...MESSAGE_FIELDS, "content_parts"] : MESSAGE_FIELDS),
    }),
    ...(calls.some((call) => call !== null) && { calls }),
  };
  return Object.keys(state).length > 0 ? state : undefined;
}

/** Returns whether parts of an answer are of tools that Anthropic runs itself. */
export function hasServerBlocks(parts: unknown): parts is Fields[] {
  return Array.isArray(parts) && parts.some((part) => SERVER_BLOCK.test(String(fieldsOf(part).type)));
}

/** Returns what the entry wants back of a message in a history. */
export function stateFor(entry: string, message: { vendor_state?: unknown }): VendorState {
  const own = fieldsOf(fieldsOf(message.vendor_state)[entry]);
  return {
    ...(isObject(own.message) && { message: own.message }),
    ...(Array.isArray(own.calls) && { calls: own.calls }),
  };
}

/** Returns the message without what a vendor may have written into it, whose ever it is. */
export function withoutState(message: Message): Message {
  const drop = (fields: object, names: readonly string[]) =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
  const rest = drop(message, MESSAGE_FIELDS) as Message;
  if (!rest.tool_calls) return rest;
  return { ...rest, tool_calls: rest.tool_calls.map((call) => drop(call, CALL_FIELDS) as typeof call) };
}

function pick(value: unknown, names: readonly string[]): Fields | null {
  const fields = fieldsOf(value);
  const given = names.filter((name) => fields[name] != null);
  return given.length > 0 ? Object.fromEntries(given.map((name) => [name, fields[name]])) : null;
}

function nonEmpty(state: { message: Fields | null }): { message?: Fields } {
  return state.message ? { message: state.message } : {};
}
