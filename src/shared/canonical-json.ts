/** Deeper values would overflow the stack of whoever serialises them. */
const MAX_DEPTH = 100;

/** The value has more than `MAX_DEPTH` levels. */
export class NestingError extends Error {
  override name = "NestingError";
}

/** JSON with sorted keys: equal values give equal text. @throws NestingError */
export function canonicalJson(value: unknown, depth = 0): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (depth >= MAX_DEPTH) throw new NestingError(`nests deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(",")}]`;
  const fields = value as Record<string, unknown>;
  const pairs = Object.keys(fields)
    .filter((key) => fields[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(fields[key], depth + 1)}`);
  return `{${pairs.join(",")}}`;
}
