import { hash } from "node:crypto";
import type { ChatRequest } from "../../shared/chat.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import { RowFault } from "./row-fault.ts";

/** Deeper values would overflow the stack of whoever serialises them. */
const MAX_DEPTH = 100;
const ID_BYTES = 16;

/** JSON with sorted keys: equal values give equal text. @throws RowFault when it nests too deeply. */
export function canonicalJson(value: unknown, depth = 0): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (depth >= MAX_DEPTH)
    throw new RowFault("invalid_request", `the request nests deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(",")}]`;
  const fields = value as Record<string, unknown>;
  const pairs = Object.keys(fields)
    .filter((key) => fields[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(fields[key], depth + 1)}`);
  return `{${pairs.join(",")}}`;
}

/** Equal for rows that ask the same of the same model, whatever words their line used. */
export function requestDigest({ entry, model }: ModelRef, request: ChatRequest): string {
  return hash("sha256", canonicalJson({ entry, model, request }), "hex");
}

/** Of a line that is no request: its bytes, or the head and length of one that is too long to be read whole. */
export function malformedDigest(data: Uint8Array, bytes: number): string {
  return hash("sha256", `malformed:${bytes}:${hash("sha256", data, "hex")}`, "hex");
}

/** What tells equal requests apart: their custom_id, or which one of them it is, counted from 1. */
export type Distinction = { customId: string } | { occurrence: number };

/** The row's identity in the input, 16 bytes: line numbers and run options never count. */
export function rowId(digest: string, distinction: Distinction): Buffer {
  const suffix =
    "customId" in distinction ? `custom_id:${distinction.customId}` : `occurrence:${distinction.occurrence}`;
  return digest16(`${digest}:${suffix}`);
}

/** What the output calls a row without a custom_id. */
export function lineLabel(line: number): string {
  return `line-${line}`;
}

export function digest16(text: string): Buffer {
  return hash("sha256", text, "buffer").subarray(0, ID_BYTES);
}
