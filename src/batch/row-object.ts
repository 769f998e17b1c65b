import { isUtf8 } from "node:buffer";
import { parseExactly, WrittenNumber } from "../shared/exact-json.ts";
import { isObject } from "../shared/json.ts";
import { findSyntaxProblem, placeIn } from "./json-syntax.ts";
import { RowFault } from "./row-fault.ts";

/** Returns the object of an input line, its numbers as they are written. @throws RowFault for what is none, with the place */
export function parseObject(data: Buffer): Record<string, unknown> {
  if (!isUtf8(data)) {
    throw new RowFault("invalid_encoding", "the line is not UTF-8 text", "save the file as UTF-8");
  }
  const text = data.toString();
  const value = parsed(text);
  if (!isObject(value) || value instanceof WrittenNumber) {
    throw new RowFault(
      "invalid_json_line",
      "the line is not a JSON object",
      "write one JSON object per line",
    );
  }
  refuseHalfCharacters(text, value);
  return value;
}

function parsed(text: string): unknown {
  try {
    return parseExactly(text);
  } catch (error) {
    if (error instanceof RangeError) throw new RowFault("invalid_request", "the line nests too deeply");
    const { at, reason, hint } = findSyntaxProblem(text) ?? {
      at: 0,
      reason: "nobody knows why",
      hint: undefined,
    };
    throw new RowFault(
      "invalid_json_line",
      `the line is not valid JSON: ${reason}, at ${placeIn(text, at)}`,
      hint,
    );
  }
}

/** Half of a surrogate pair is no character, and providers refuse it; only an escape can bring it here. */
function refuseHalfCharacters(text: string, fields: Record<string, unknown>): void {
  if (!/\\u[dD][89a-fA-F]/.test(text)) return;
  const path = halfCharacterIn(fields);
  if (path === undefined) return;
  throw new RowFault(
    "invalid_encoding",
    `${path || "a key"} has half of a surrogate pair (such as \\ud83d), which is no character`,
    "a text was cut within an emoji: write the whole character, or leave it out",
  );
}

/** The path of the first text that is no Unicode; undefined when all is. */
function halfCharacterIn(value: unknown): string | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : "";
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, child] of Object.entries(value)) {
    if (!name.isWellFormed()) return "a key";
    const inside = halfCharacterIn(child);
    if (inside !== undefined) return inside === "" ? name : `${name}.${inside}`;
  }
  return undefined;
}
