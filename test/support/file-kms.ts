import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";

/*
 * A key service as a module of GLUELLM_ENCRYPTION_MODULE: its key is in the file that KMS_KEY_FILE names. It fails as long as there is a file
 * KMS_KEY_FILE.down, and writes what it is asked into KMS_KEY_FILE.log.
 */

export const id = "file-kms";

export async function wrap(key: Uint8Array, about: string): Promise<string> {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", asked("wrap", about), nonce).setAAD(Buffer.from(about));
  const body = [cipher.update(key), cipher.final()];
  return Buffer.concat([nonce, cipher.getAuthTag(), ...body]).toString("base64");
}

export async function unwrap(text: string, about: string): Promise<Uint8Array> {
  const bytes = Buffer.from(text, "base64");
  const decipher = createDecipheriv("aes-256-gcm", asked("unwrap", about), bytes.subarray(0, 12))
    .setAAD(Buffer.from(about))
    .setAuthTag(bytes.subarray(12, 28));
  return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]);
}

function asked(what: string, about: string): Buffer {
  const path = process.env.KMS_KEY_FILE ?? "";
  if (existsSync(`${path}.down`)) throw new Error("the key service is down");
  appendFileSync(`${path}.log`, `${what} ${about}\n`);
  return readFileSync(path);
}
