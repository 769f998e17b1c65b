import { createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto";
import { decrypt, encrypt } from "./aes-gcm.ts";

/*
 * A sealed text: `enc1.<id of its data key>.<base64>`, of whose bytes the first 16 are a salt, 12 a nonce and 16 the tag of
 * AES-256-GCM; the rest is the text. The key is made of the data key and the salt, which is one process's own: so that the
 * nonces, which are drawn, need differ within a process alone. No JSON text begins so.
 */

const PREFIX = "enc1.";
const SALT_BYTES = 16;
/** Of one key; 2³² is the most that drawn nonces allow. */
const MAX_SEALS = 2 ** 31;

/** Returns whether a text is sealed. */
export function isSealed(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Returns the id of the data key that a sealed text needs. */
export function dataKeyOf(sealed: string): string {
  return sealed.slice(PREFIX.length, sealed.indexOf(".", PREFIX.length));
}

/** Encrypts by keys made of one data key. */
export class Sealer {
  readonly #id: string;
  readonly #dataKey: Uint8Array;
  #salt: Buffer = Buffer.alloc(0);
  #key: KeyObject | undefined;
  #seals = MAX_SEALS;

  constructor(id: string, dataKey: Uint8Array) {
    this.#id = id;
    this.#dataKey = dataKey;
  }

  /** @param about what the text belongs to: only who says the same can open it */
  seal(about: string, text: string): string {
    if (!this.#key || this.#seals++ >= MAX_SEALS) {
      this.#salt = randomBytes(SALT_BYTES);
      this.#key = keyOf(this.#dataKey, this.#salt);
      this.#seals = 1;
    }
    const sealed = Buffer.concat([this.#salt, ...encrypt(this.#key, Buffer.from(about), text)]);
    return `${PREFIX}${this.#id}.${sealed.toString("base64")}`;
  }
}

/** Many processes may have sealed what one reads. */
const MAX_KNOWN = 1000;

/** Decrypts what was encrypted by keys made of one data key. */
export class Opener {
  readonly #dataKey: Uint8Array;
  readonly #keys = new Map<string, KeyObject>();

  constructor(dataKey: Uint8Array) {
    this.#dataKey = dataKey;
  }

  /** @throws an Error when the text was changed, or belongs to something else */
  open(about: string, sealed: string): string {
    const bytes = Buffer.from(sealed.slice(sealed.lastIndexOf(".") + 1), "base64");
    const key = this.#keyOf(bytes.subarray(0, SALT_BYTES));
    return decrypt(key, Buffer.from(about), bytes.subarray(SALT_BYTES)).toString("utf8");
  }

  #keyOf(salt: Buffer): KeyObject {
    const name = salt.toString("latin1");
    const known = this.#keys.get(name);
    if (known) return known;
    const key = keyOf(this.#dataKey, salt);
    if (this.#keys.size >= MAX_KNOWN) this.#keys.clear();
    this.#keys.set(name, key);
    return key;
  }
}

function keyOf(dataKey: Uint8Array, salt: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", dataKey, salt, "gluellm envelope 1", 32)));
}
