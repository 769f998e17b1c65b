import { z } from "zod";
import { Secret } from "./secret.ts";

const KEY_BYTES = 32;
const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/;

/** A key of the ring: 32 bytes in base64. */
export interface RingKey {
  id: string;
  key: Secret;
}

/** Encryption at rest. Off without keys and module. */
export interface EncryptionSettings {
  /** The first one encrypts, unless there is a module; all decrypt. */
  keys: readonly RingKey[];
  /** The path of a module that exports `wrap` and `unwrap`, for keys that a KMS holds. */
  module: string | undefined;
  /** What is new is written in clear, and what is encrypted is read: the first step of a roll-out. */
  decryptOnly: boolean;
}

/** `<id>:<base64 of 32 bytes>`, several separated by commas. No fault says what a key is. */
const keyRing = z.string().transform((text, context): RingKey[] => {
  const keys = text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean)
    .map((item, n) => readKey(item, n + 1));
  const ids = keys.map(({ id }) => id);
  const twice = ids.find((id, n) => id !== "" && ids.indexOf(id) !== n);
  const fault =
    keys.find(({ fault }) => fault)?.fault ??
    (twice !== undefined ? `two keys have the id "${twice}"; each needs one of its own` : undefined);
  if (fault === undefined) return keys.map(({ id, key }) => ({ id, key: new Secret(key) }));
  context.addIssue(fault);
  return z.NEVER;
});

function readKey(item: string, place: number): { id: string; key: string; fault?: string } {
  const colon = item.indexOf(":");
  const id = item.slice(0, Math.max(0, colon));
  const key = item.slice(colon + 1);
  // Without a colon all of it may be the key.
  if (!KEY_ID.test(id))
    return {
      id: "",
      key,
      fault: `key ${place} has no id; write <id>:<base64 of 32 bytes>, the id of letters, digits, - and _`,
    };
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(key)) return { id, key, fault: `key "${id}" is not base64` };
  const bytes = Buffer.from(key, "base64").length;
  return bytes === KEY_BYTES
    ? { id, key }
    : {
        id,
        key,
        fault: `key "${id}" has ${bytes} bytes and must have 32; \`openssl rand -base64 32\` makes one`,
      };
}

/** Stands where a text would be in clear that is encrypted elsewhere, or nowhere. */
export const HIDDEN = "(encrypted)";

/** Variables of encryption at rest. */
export const encryptionVariables = {
  ENCRYPTION_KEYS: keyRing.default([]),
  ENCRYPTION_MODULE: z.string().optional(),
};

/** Returns what is wrong with the variables together. */
export function encryptionFaults(values: {
  ENCRYPTION_KEYS: readonly RingKey[];
  ENCRYPTION_MODULE?: string | undefined;
  ENCRYPTION_DECRYPT_ONLY: boolean;
}): string[] {
  const hasKey = values.ENCRYPTION_KEYS.length > 0 || values.ENCRYPTION_MODULE !== undefined;
  return values.ENCRYPTION_DECRYPT_ONLY && !hasKey
    ? ["GLUELLM_ENCRYPTION_DECRYPT_ONLY: needs GLUELLM_ENCRYPTION_KEYS or GLUELLM_ENCRYPTION_MODULE"]
    : [];
}
