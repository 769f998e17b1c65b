import { randomBytes } from "node:crypto";
import { sha256 } from "./digest.ts";
import { objectId } from "./object-id.ts";
import type { ShownKey } from "./principal.ts";

/*
 * What a caller of the API shows: `gk_<id>_<secret>`, the key's id (32 hex digits) and 256 random bits. Only its SHA-256 is
 * stored.
 */

const TOKEN = /^gk_([0-9a-f]{32})_[A-Za-z0-9_-]{43}$/;
const KEY_ID = /^key_[0-9a-f]{32}$/;

/** Returns a new token. */
export function newToken(): string {
  return `gk_${objectId("").replaceAll("-", "")}_${randomBytes(32).toString("base64url")}`;
}

/** A token's parts; undefined for what is none. */
export function readToken(token: string): ShownKey | undefined {
  const id = TOKEN.exec(token)?.[1];
  return id === undefined ? undefined : { keyId: `key_${id}`, digest: sha256(token) };
}

export function isKeyId(text: string): boolean {
  return KEY_ID.test(text);
}
