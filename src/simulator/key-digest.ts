import type { IncomingMessage } from "node:http";
import { sha256 } from "../shared/digest.ts";

/** Returns a digest of a request's key, which alone is ever kept; null without a key. */
export function keyDigest({ headers }: IncomingMessage): string | null {
  const key = headers["x-api-key"] ?? headers.authorization?.replace(/^Bearer /i, "");
  return key ? sha256(String(key)).slice(0, 12) : null;
}
