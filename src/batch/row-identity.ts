import { canonicalJson, NestingError } from "../shared/canonical-json.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { requestDigest, sha256 } from "../shared/digest.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { RowFault } from "./row-fault.ts";

const ID_BYTES = 16;

/**
 * Equal for rows that ask the same of the same model, whatever words their line used.
 * @throws RowFault when the request nests too deeply.
 */
export function rowDigest(model: ModelRef, request: ChatRequest, wire?: WireOptions): string {
  try {
    const digest = requestDigest(model, request);
    return wire ? sha256(`${digest}:${canonicalJson(wire)}`) : digest;
  } catch (error) {
    throw error instanceof NestingError
      ? new RowFault("invalid_request", `the request ${error.message}`)
      : error;
  }
}

/** Of a line that is no request: its bytes, or the head and length of one that is too long to be read whole. */
export function malformedDigest(data: Uint8Array, bytes: number): string {
  return sha256(`malformed:${bytes}:${sha256(data)}`);
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
  return Buffer.from(sha256(text), "hex").subarray(0, ID_BYTES);
}
