import { type KeyObject, randomBytes } from "node:crypto";
import { decrypt, encrypt } from "./aes-gcm.ts";
import { MaskedIds } from "./masked-ids.ts";

/*
 * A sealed line of a file that grows by lines: `encl1.<base64>` of a nonce, the tag of AES-256-GCM and the text. Its key is of that one
 * file, and can be made without asking Redis for each line.
 */

const PREFIX = "encl1.";

/** Encrypts and decrypts lines of a file. */
export interface LineCipher {
  /** Hides of what the ids in an index of the file are made; undefined where it does not encrypt. It is another one in each process. */
  readonly ids?: MaskedIds | undefined;
  /** Returns the line as it may be stored. */
  seal(line: string): string;
  /** Returns a stored line in clear, whether it was sealed or not. @throws GlueError `encryption_key_missing`, `corrupt_data` */
  open(stored: string): string;
}

/** Of files that are their users' own. */
export const PLAIN_LINES: LineCipher = { seal: (line) => line, open: (stored) => stored };

/** @param fault makes the error of a line that does not open */
export function lineCipher(
  { key, about, isSealing }: { key: KeyObject | undefined; about: string; isSealing: boolean },
  fault: () => Error,
): LineCipher {
  const bound = Buffer.from(about);
  return {
    ids: key && isSealing ? new MaskedIds(randomBytes(32)) : undefined,
    seal(line) {
      if (!key || !isSealing) return line;
      return PREFIX + Buffer.concat(encrypt(key, bound, line)).toString("base64");
    },
    open(stored) {
      if (!stored.startsWith(PREFIX)) return stored;
      if (!key) throw fault();
      try {
        return decrypt(key, bound, Buffer.from(stored.slice(PREFIX.length), "base64")).toString("utf8");
      } catch {
        throw fault();
      }
    },
  };
}
