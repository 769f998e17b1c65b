import { type CipherKey, createCipheriv, createDecipheriv } from "node:crypto";

const BLOCK_BYTES = 16;

/** Makes ids of 16 bytes of others, and those again of them: who has not the key cannot tell what an id was made of. */
export class MaskedIds {
  readonly #cipher;
  readonly #decipher;

  /** @param key of 32 bytes */
  constructor(key: CipherKey) {
    // An id is one block: AES is a permutation of all of them, and no chaining is wanted.
    this.#cipher = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv("aes-256-ecb", key, null).setAutoPadding(false);
  }

  /** @throws RangeError unless it is of one block or several */
  mask(id: Uint8Array): Buffer {
    return this.#cipher.update(whole(id));
  }

  /** @throws RangeError as `mask` */
  unmask(masked: Uint8Array): Buffer {
    return this.#decipher.update(whole(masked));
  }
}

/** A part of a block would stay in the cipher, and spoil all that follows. */
function whole(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0 || bytes.length % BLOCK_BYTES !== 0)
    throw new RangeError(`an id of ${bytes.length} bytes`);
  return bytes;
}
