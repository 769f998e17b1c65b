import { createCipheriv, createDecipheriv, type KeyObject, randomFillSync } from "node:crypto";

/*
 * AES-256-GCM with nonces that are drawn: a nonce of 12 bytes, the tag of 16, then the encrypted bytes. Keys are key objects, which cost a quarter of
 * what keys of bytes cost at each use; nonces are drawn many at a time for the same reason.
 */

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = NONCE_BYTES + TAG_BYTES;
const nonces = Buffer.alloc(256 * NONCE_BYTES);
let used = nonces.length;

function newNonce(): Buffer {
  if (used >= nonces.length) {
    randomFillSync(nonces);
    used = 0;
  }
  // A copy: the next filling must not change it.
  const nonce = Buffer.from(nonces.subarray(used, used + NONCE_BYTES));
  used += NONCE_BYTES;
  return nonce;
}

/** Returns nonce, tag and encrypted bytes. @param about has to be the same when it is decrypted */
export function encrypt(key: KeyObject, about: Buffer, text: string): Buffer[] {
  const nonce = newNonce();
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(about);
  const body = cipher.update(text, "utf8");
  // It has nothing to add, but makes the tag.
  cipher.final();
  return [nonce, cipher.getAuthTag(), body];
}

/** @throws an Error when the bytes were changed, or are about something else */
export function decrypt(key: KeyObject, about: Buffer, sealed: Buffer): Buffer {
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES), options)
    .setAAD(about)
    .setAuthTag(sealed.subarray(NONCE_BYTES, HEAD_BYTES));
  const bytes = decipher.update(sealed.subarray(HEAD_BYTES));
  // Whether it is what was encrypted.
  decipher.final();
  return bytes;
}
