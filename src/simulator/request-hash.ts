import { hash } from "node:crypto";

/** Deeper JSON than any real request; bounds the recursion over what strangers send. */
const MAX_DEPTH = 200;

export class NestedTooDeeplyError extends Error {}

/** JSON with sorted keys: equal for equal values, whatever the order of their keys. */
export function canonicalJson(value: unknown, depth = 0): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (depth > MAX_DEPTH) throw new NestedTooDeeplyError(`nested more than ${MAX_DEPTH} levels deep`);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(",")}]`;
  const fields = value as Record<string, unknown>;
  const parts = Object.keys(fields)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(fields[key], depth + 1)}`);
  return `{${parts.join(",")}}`;
}

/** Lower-case hex SHA-256. */
export function sha256(text: string | Uint8Array): string {
  return hash("sha256", text, "hex");
}

/** A number in [0, 1) from 48 bits of a hex digest, starting at digit `from`. */
export function shareOf(digest: string, from = 0): number {
  return Number.parseInt(digest.slice(from, from + 12), 16) / 2 ** 48;
}
