import { hash } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import type { ChatRequest } from "./chat.ts";
import type { ModelRef } from "./model-name.ts";

/** Returns the lower-case hex SHA-256 of `data`. */
export function sha256(data: string | Uint8Array): string {
  return hash("sha256", data, "hex");
}

/**
 * Returns the digest of a request to a model: equal for requests that ask the same, whatever the order of their keys.
 * @throws NestingError
 */
export function requestDigest({ entry, model }: ModelRef, request: ChatRequest): string {
  return sha256(canonicalJson({ entry, model, request }));
}
