import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";

/*
 * A sealed file: a head of 64 bytes (mark, id of its data key, salt), then its bytes in chunks of 64 KiB, each encrypted by
 * AES-256-GCM with its tag behind it; the last one may be shorter, also empty. The key is made of the data key and the salt, and is of this
 * file alone; so the nonce of a chunk can be its number and whether it is the last one. A chunk opens at its place in its file alone, and
 * a file that was cut does not open to its end.
 */

const MARK = Buffer.from("\x89gluenc1", "latin1");
const ID_BYTES = 24;
const SALT_BYTES = 32;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const NUMBER_BYTES = 6;
export const HEAD_BYTES = MARK.length + ID_BYTES + SALT_BYTES;
export const CHUNK_BYTES = 64 * 1024;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;

/** Returns the id of the data key of a sealed file by its first bytes; undefined when it is none. */
export function dataKeyOfFile(head: Buffer): string | undefined {
  if (head.length < HEAD_BYTES || !head.subarray(0, MARK.length).equals(MARK)) return undefined;
  return head.toString("latin1", MARK.length, MARK.length + ID_BYTES).replaceAll("\0", "");
}

/** Encrypts and decrypts the chunks of one file. */
export class FileCipher {
  /** What the file begins with. */
  readonly head: Buffer;
  readonly #key: KeyObject;
  readonly #about: Buffer;

  /** Of a new file. @param about what it is: only who says the same can open it */
  static create(dataKeyId: string, dataKey: Uint8Array, about: string): FileCipher {
    const head = Buffer.alloc(HEAD_BYTES);
    MARK.copy(head);
    head.write(dataKeyId, MARK.length, ID_BYTES, "latin1");
    randomBytes(SALT_BYTES).copy(head, MARK.length + ID_BYTES);
    return new FileCipher(head, dataKey, about);
  }

  /** @param head as `dataKeyOfFile` has seen it */
  constructor(head: Buffer, dataKey: Uint8Array, about: string) {
    this.head = Buffer.from(head.subarray(0, HEAD_BYTES));
    const salt = this.head.subarray(MARK.length + ID_BYTES);
    this.#key = createSecretKey(Buffer.from(hkdfSync("sha256", dataKey, salt, "gluellm file 1", 32)));
    this.#about = Buffer.from(about);
  }

  /** @param number of the chunk, from 0 */
  seal(number: number, isLast: boolean, chunk: Buffer): Buffer {
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonceOf(number, isLast)).setAAD(this.#about);
    return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  }

  /** @throws an Error when it was changed, or is no such chunk of this file */
  open(number: number, isLast: boolean, sealed: Buffer): Buffer {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) throw new Error("a cut chunk");
    const options = { authTagLength: TAG_BYTES };
    const decipher = createDecipheriv("aes-256-gcm", this.#key, nonceOf(number, isLast), options)
      .setAAD(this.#about)
      .setAuthTag(sealed.subarray(end));
    return Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()]);
  }
}

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce[0] = isLast ? 1 : 0;
  nonce.writeUIntBE(number, NONCE_BYTES - NUMBER_BYTES, NUMBER_BYTES);
  return nonce;
}
