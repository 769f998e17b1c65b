import { canonicalJson, NestingError } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";
import { InvalidCallError } from "./invalid-call.ts";

/** The deepest JSON, more than any real request has; it bounds the recursion over what strangers send. */
const MAX_DEPTH = 200;

/**
 * Returns the digest of what was asked, equal for bodies that differ in the order of their keys only.
 * @throws InvalidCallError for a body that nests too deeply.
 */
export function requestHash(body: unknown): string {
  try {
    return sha256(canonicalJson(body, MAX_DEPTH + 1));
  } catch (error) {
    if (!(error instanceof NestingError)) throw error;
    throw new InvalidCallError(`The body is nested more than ${MAX_DEPTH} levels deep.`);
  }
}

/** Returns a number in [0, 1) from 48 bits of a hex digest, starting at digit `from`. */
export function shareOf(digest: string, from = 0): number {
  return Number.parseInt(digest.slice(from, from + 12), 16) / 2 ** 48;
}
