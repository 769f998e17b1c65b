import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { EncryptionSettings, RingKey } from "../shared/encryption-setting.ts";

/** What wraps data keys: a key of the ring, or a KMS. */
export interface KeyWrapper {
  /** Its name, which is kept beside what it has wrapped. */
  readonly id: string;
  /** Returns the wrapped key as text. `about` has to be the same when it is unwrapped. */
  wrap(key: Uint8Array, about: string): Promise<string> | string;
  /** @throws when the text was wrapped by another one, or about something else */
  unwrap(text: string, about: string): Promise<Uint8Array> | Uint8Array;
}

/** What a process may encrypt and decrypt with. */
export interface KeyRing {
  /** The first one wraps new data keys; all unwrap. */
  readonly wrappers: readonly KeyWrapper[];
  readonly decryptOnly: boolean;
}

/** Returns the ring of the settings; undefined when encryption is off. @param kms comes before the keys */
export function keyRingOf({ keys, decryptOnly }: EncryptionSettings, kms?: KeyWrapper): KeyRing | undefined {
  const wrappers = [...(kms ? [kms] : []), ...keys.map(localWrapper)];
  return wrappers.length > 0 ? { wrappers, decryptOnly } : undefined;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Wraps by AES-256-GCM: nonce, tag, wrapped key, in base64. */
function localWrapper({ id, key }: RingKey): KeyWrapper {
  const bytes = () => Buffer.from(key.reveal(), "base64");
  return {
    id,
    wrap(dataKey, about) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", bytes(), nonce).setAAD(Buffer.from(about));
      const wrapped = [cipher.update(dataKey), cipher.final()];
      return Buffer.concat([nonce, cipher.getAuthTag(), ...wrapped]).toString("base64");
    },
    unwrap(text, about) {
      const wrapped = Buffer.from(text, "base64");
      const options = { authTagLength: TAG_BYTES };
      const decipher = createDecipheriv("aes-256-gcm", bytes(), wrapped.subarray(0, NONCE_BYTES), options)
        .setAAD(Buffer.from(about))
        .setAuthTag(wrapped.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([decipher.update(wrapped.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    },
  };
}
