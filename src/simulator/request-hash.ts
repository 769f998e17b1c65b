import { canonicalJson } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";

/** What is read nests no deeper: see `nestsTooDeep`. */
const MAX_DEPTH = 201;

/** Returns the digest of what was asked, equal for bodies that differ in the order of their keys only. */
export function requestHash(body: unknown): string {
  return sha256(canonicalJson(body, MAX_DEPTH));
}

/** Returns a number in [0, 1) from 48 bits of a hex digest, starting at digit `from`. */
export function shareOf(digest: string, from = 0): number {
  return Number.parseInt(digest.slice(from, from + 12), 16) / 2 ** 48;
}
