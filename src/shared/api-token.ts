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
/** A token that may have lost its end, as logs and lists show it. */
const TOKEN_START = /^gk_([0-9a-f]{32})(?:_|$)/;

/** Returns a new token. */
export function newToken(): string {
  return `gk_${objectId("").replaceAll("-", "")}_${randomBytes(32).toString("base64url")}`;
}

/** A token's parts; undefined for what is none. */
export function readToken(token: string): ShownKey | undefined {
  const id = TOKEN.exec(token)?.[1];
  return id === undefined ? undefined : { keyId: `key_${id}`, digest: sha256(token) };
}

/** Returns the id of a key by its id or by its token, whatever its secret is; undefined for what is neither. */
export function keyIdOf(text: string): string | undefined {
  const named = TOKEN_START.exec(text)?.[1];
  if (named !== undefined) return `key_${named}`;
  return KEY_ID.test(text) ? text : undefined;
}
