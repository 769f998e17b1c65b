import type { MaskedIds } from "../store/masked-ids.ts";
import { beginningKeys } from "./prompt-beginnings.ts";

const ID_BYTES = 16;

export interface IndexOptions {
  /** Hides of what ids and digests are made; not in an index that is kept. */
  ids?: MaskedIds | undefined;
}

/** How an index holds ids of rows and digests: as they are, or masked, so that nobody sees by them what was asked. */
export class IndexIds {
  readonly #masked: MaskedIds | undefined;

  constructor(masked: MaskedIds | undefined) {
    this.#masked = masked;
  }

  /** Returns what an id or a digest of whole blocks of 16 bytes is stored as. @param bytes in hexadecimal digits where they are a text */
  stored(bytes: Uint8Array | string): Buffer {
    const plain = typeof bytes === "string" ? Buffer.from(bytes, "hex") : Buffer.from(bytes);
    // What is no id of ours is none of the index either.
    return this.#masked && plain.length > 0 && plain.length % ID_BYTES === 0
      ? this.#masked.mask(plain)
      : plain;
  }

  /** Returns a stored id in hexadecimal digits. */
  hexOf(stored: Uint8Array): string {
    const id =
      this.#masked?.unmask(stored) ?? Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
    return id.toString("hex");
  }

  /** Returns what the digests of a prompt's beginnings are stored as; equal ones stay equal. */
  storedBeginnings(beginnings: Uint8Array | undefined): Uint8Array | null {
    const masked = this.#masked;
    if (!beginnings || !masked) return beginnings ?? null;
    return Buffer.concat(
      beginningKeys(beginnings).map((key) => {
        const block = Buffer.alloc(ID_BYTES);
        block.write(key, "latin1");
        return masked.mask(block).subarray(0, key.length);
      }),
    );
  }
}
