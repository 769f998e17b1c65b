import { isObject } from "../shared/json.ts";
import { reasoningText } from "./reasoning.ts";

/** The content of an answer, or a piece of it. */
export interface Content {
  /** Null where the answer has no place for a text. */
  text: string | null;
  refusal: string;
  reasoning: string;
  /** The whole list, when it holds more than texts. */
  parts: unknown[] | undefined;
}

const TEXT_TYPES: readonly unknown[] = [undefined, null, "text", "output_text"];

/** Reads the content of a message: a text, a list of parts, or what else a server writes in its place. */
export function readContent(raw: unknown): Content {
  const none = { refusal: "", reasoning: "", parts: undefined };
  if (raw == null) return { ...none, text: null };
  if (typeof raw !== "object") return { ...none, text: String(raw) };
  const parts: unknown[] = Array.isArray(raw) ? raw : [raw];
  const kinds = parts.map(readPart);
  const texts = kinds.flatMap(({ text }) => text ?? []);
  return {
    text: texts.length > 0 ? texts.join("") : null,
    refusal: kinds.map(({ refusal }) => refusal ?? "").join(""),
    reasoning: kinds.map(({ reasoning }) => reasoning ?? "").join(""),
    parts: kinds.every(({ isPlain }) => isPlain) ? undefined : parts,
  };
}

type PartKind = { text?: string; refusal?: string; reasoning?: string; isPlain?: boolean };

function readPart(part: unknown): PartKind {
  if (typeof part === "string") return { text: part, isPlain: true };
  if (!isObject(part) || Object.keys(part).length === 0) return { isPlain: true };
  const { type, text, refusal } = part;
  if (TEXT_TYPES.includes(type)) {
    if (typeof text === "string") return { text, isPlain: Object.keys(part).length <= 2 };
    // A structured answer that the server has parsed already.
    return type === "text" ? {} : { text: JSON.stringify(part), isPlain: true };
  }
  if (typeof refusal === "string") return { refusal };
  if (/think|reason/i.test(String(type))) return { reasoning: reasoningText(part) };
  return {};
}
