import { isObject } from "../shared/json.ts";

type Fields = Record<string, unknown>;

/** The fields whose text comes whole, and with some servers in every piece again. */
const WHOLE = new Set([
  ...["role", "id", "type", "name", "format", "signature", "object", "model", "system_fingerprint"],
  ...["service_tier", "finish_reason", "native_finish_reason", "thought_signature", "provider"],
]);
/** The types of parts that come in pieces, though nothing numbers them. */
const GROWING = /^(text|output_text|thinking|reasoning(\.text|\.summary)?)$/;

/** Adds a piece of an answer: texts and lists go on, objects are merged, the rest is replaced. */
export function merge(target: Fields, piece: Fields): void {
  for (const [key, value] of Object.entries(piece)) {
    const standing = target[key];
    if (value == null) {
      if (value === null) target[key] ??= null;
    } else if (typeof value === "string" && typeof standing === "string") {
      if (!WHOLE.has(key)) target[key] = standing + value;
      else if (value !== "") target[key] = value;
    } else if (Array.isArray(value) && Array.isArray(standing)) {
      for (const part of value) addPart(standing, part);
    } else if (isObject(value) && isObject(standing)) {
      merge(standing, value);
    } else if (isObject(value) || Array.isArray(value)) {
      // The event stays as it came: what is added to it here is not its own.
      target[key] = structuredClone(value);
    } else {
      target[key] = value;
    }
  }
}

/** Adds a part to a list, joined with the one that it goes on with. */
export function addPart(list: unknown[], part: unknown): void {
  const standing = isObject(part) ? standingPart(list, part) : undefined;
  if (standing && isObject(part)) merge(standing, part);
  else list.push(isObject(part) ? structuredClone(part) : part);
}

function standingPart(list: readonly unknown[], part: Fields): Fields | undefined {
  const isPiece = (one: unknown): one is Fields =>
    isObject(one) && isSame(one, part, "type") && isSame(one, part, "id");
  if (typeof part.index === "number")
    return list.filter(isPiece).findLast(({ index }) => index === part.index);
  // Lists of tokens are long, and go on with their last one at most.
  const last = list.at(-1);
  return isPiece(last) && GROWING.test(String(part.type)) ? last : undefined;
}

function isSame(one: Fields, other: Fields, key: string): boolean {
  return one[key] == null || other[key] == null || one[key] === other[key];
}
