import { WrittenNumber } from "./exact-json.ts";

/** The most levels; deeper values would overflow the stack of whoever serialises them. */
const MAX_DEPTH = 100;

/** The error of a value with more levels than allowed. */
export class NestingError extends Error {
  override name = "NestingError";
}

/**
 * Returns JSON with sorted keys: equal values give equal text, however their numbers were written. A number that no
 * double holds is written as `#` and its digits, which is no JSON and so like no other value.
 * @throws NestingError
 */
export function canonicalJson(value: unknown, maxDepth = MAX_DEPTH): string {
  const write = (part: unknown, depth: number): string => {
    if (part instanceof WrittenNumber) return part.isHeld ? JSON.stringify(part.valueOf()) : `#${part.text}`;
    if (typeof part !== "object" || part === null) return JSON.stringify(part) ?? "null";
    if (depth >= maxDepth) throw new NestingError(`nests deeper than ${maxDepth} levels`);
    if (Array.isArray(part)) return `[${part.map((item) => write(item, depth + 1)).join(",")}]`;
    const fields = part as Record<string, unknown>;
    const pairs = Object.keys(fields)
      .filter((key) => fields[key] !== undefined)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${write(fields[key], depth + 1)}`);
    return `{${pairs.join(",")}}`;
  };
  return write(value, 0);
}
