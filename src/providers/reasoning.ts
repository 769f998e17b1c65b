import { isObject } from "../shared/json.ts";

type Fields = Record<string, unknown>;

/** Where vendors write what a model thought, beside its text. */
const REASONING_FIELDS = [
  "reasoning",
  "reasoning_content",
  "thinking",
  "reasoning_text",
  "reasoning_details",
];
const TEXT_FIELDS = ["text", "thinking", "reasoning", "content", "summary", "reasoning_content"];
const MAX_DEPTH = 5;

/** Returns the field of a message that holds what the model thought; undefined for none. */
export function reasoningFieldOf(message: Fields): string | undefined {
  return REASONING_FIELDS.find((field) => reasoningText(message[field]) !== "");
}

/** Returns the text of what the model thought, whether it is a text, parts, or an object around them. */
export function reasoningText(value: unknown, depth = 0): string {
  if (typeof value === "string") return value;
  if (depth > MAX_DEPTH) return "";
  if (Array.isArray(value)) return value.map((part) => reasoningText(part, depth + 1)).join("");
  if (!isObject(value)) return "";
  const texts = TEXT_FIELDS.map((field) => reasoningText(value[field], depth + 1));
  return texts.find((text) => text !== "") ?? "";
}

/** Joins what a model thought in several places. */
export function joinReasoning(texts: readonly string[]): string {
  return texts.filter((text) => text !== "").join("\n\n");
}
