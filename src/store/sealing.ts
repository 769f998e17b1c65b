import { createHmac, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import type { Redis } from "ioredis";
import { GlueError } from "../shared/errors.ts";
import {
  currentDataKey,
  type DataKeyPlace,
  KEY_MISSING,
  lostKey,
  type RotationProgress,
  readDataKey,
  readDigestKey,
  rewrap,
} from "./data-keys.ts";
import { dataKeyOf, isSealed, Opener, Sealer } from "./envelope.ts";
import type { KeyRing } from "./key-ring.ts";
import { MaskedIds } from "./masked-ids.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { dataKeyOfFile, FileCipher } from "./sealed-file.ts";
import { type LineCipher, lineCipher } from "./sealed-lines.ts";

const HMAC = "hmac:";

/**
 * Encrypts what a namespace keeps of contents, and decrypts it. Without a key ring everything passes as it is. A sealed text is
 * bound to its namespace, kind and id: elsewhere it does not open.
 */
export class Sealing {
  readonly #place: DataKeyPlace;
  #ownKey: Promise<{ id: string; key: Uint8Array; sealer: Sealer }> | undefined;
  #digestKey: Promise<KeyObject | undefined> | undefined;
  readonly #dataKeys = new Map<string, Promise<{ key: Uint8Array; opener: Opener }>>();

  /** @param ring undefined: encryption is off */
  constructor(redis: Redis, keys: RedisKeys, ring: KeyRing | undefined) {
    this.#place = { redis, keys, ring };
  }

  /** Whether this process writes contents encrypted. */
  get isOn(): boolean {
    const { ring } = this.#place;
    return ring !== undefined && !ring.decryptOnly;
  }

  /** Makes sure that this process can encrypt: nothing should be paid for that cannot be stored then. @throws GlueError `encryption_key_missing` */
  async ready(): Promise<void> {
    if (this.isOn) await Promise.all([this.#own(), this.#digestKeyNow()]);
  }

  /** Returns a text as it may be stored. @throws GlueError `encryption_key_missing` */
  async seal(kind: string, id: string, text: string): Promise<string> {
    if (!this.isOn) return text;
    const { sealer } = await this.#own();
    return sealer.seal(this.#about(kind, id), text);
  }

  /**
   * Returns a stored text in clear, whether it was sealed or not.
   * @throws GlueError `encryption_key_missing`; `corrupt_data` when it was changed, or belongs to something else
   */
  async open(kind: string, id: string, text: string): Promise<string> {
    if (!isSealed(text)) return text;
    const { opener } = await this.#dataKey(dataKeyOf(text));
    try {
      return opener.open(this.#about(kind, id), text);
    } catch {
      throw damaged(kind, id);
    }
  }

  /** As `open`, for what may not be there. */
  async openMaybe(kind: string, id: string, text: string | null): Promise<string | null> {
    return text === null ? null : this.open(kind, id, text);
  }

  /** Returns what a digest of contents is stored as: its HMAC, by which nobody finds out what it was made of. */
  async digest(plain: string): Promise<string> {
    return (this.isOn ? await this.keyedDigest(plain) : undefined) ?? plain;
  }

  /** Returns `digest` for many, at once. */
  async digests(): Promise<(plain: string) => string> {
    const key = this.isOn ? await this.#digestKeyNow() : undefined;
    return (plain) => (key ? hmacOf(key, plain) : plain);
  }

  /** As `digest`, with a mark by which it is known among those that were stored before encryption. */
  async markedDigest(plain: string): Promise<string> {
    return this.isOn ? `${HMAC}${await this.digest(plain)}` : plain;
  }

  /** Returns whether a stored digest, marked or not, is that of the same content. */
  async isDigestOf(stored: string, plain: string): Promise<boolean> {
    if (!stored.startsWith(HMAC)) return stored === plain;
    return stored === `${HMAC}${await this.keyedDigest(plain)}`;
  }

  /** Returns the HMAC of a digest, as processes store it that encrypt; undefined where none does. */
  async keyedDigest(plain: string): Promise<string | undefined> {
    if (!this.#place.ring) return undefined;
    const key = await this.#digestKeyNow();
    return key && hmacOf(key, plain);
  }

  /** Returns what encrypts the bytes of a new file; undefined when they are to be stored in clear. @throws as `seal` */
  async newFile(id: string): Promise<FileCipher | undefined> {
    if (!this.isOn) return undefined;
    const own = await this.#own();
    return FileCipher.create(own.id, own.key, this.#about("file", id));
  }

  /** Returns what decrypts a stored file with these first bytes; undefined for one in clear. @throws GlueError `encryption_key_missing` */
  async storedFile(id: string, head: Buffer): Promise<FileCipher | undefined> {
    const dataKeyId = dataKeyOfFile(head);
    if (dataKeyId === undefined) return undefined;
    const { key } = await this.#dataKey(dataKeyId);
    return new FileCipher(head, key, this.#about("file", id));
  }

  /** Returns what encrypts the lines of a file, also in a process that has other keys by then. @throws as `seal` */
  async lines(kind: string, id: string): Promise<LineCipher> {
    const about = this.#about(kind, id);
    const isSealing = this.isOn;
    try {
      const key = await this.#derivedKey(about);
      return lineCipher({ key, about, isSealing }, () => damaged(kind, id));
    } catch (error) {
      // What is not encrypted is read all the same.
      if (isSealing || !isKeyMissing(error)) throw error;
      return lineCipher({ key: undefined, about, isSealing }, () => error);
    }
  }

  /** Returns what hides of what ids of 16 bytes are made. @throws GlueError `encryption_key_missing` */
  async maskedIds(): Promise<MaskedIds> {
    const key = await this.#derivedKey("ids");
    if (!key) throw lostKey();
    return new MaskedIds(key);
  }

  /** As `rewrap`; undefined when encryption is off. */
  async rotate(onProgress: (progress: RotationProgress) => void) {
    const { ring } = this.#place;
    return ring && rewrap({ ...this.#place, ring }, onProgress);
  }

  #about(kind: string, id: string): string {
    return `${this.#place.keys.prefix}|${kind}|${id}`;
  }

  async #derivedKey(purpose: string): Promise<KeyObject | undefined> {
    const key = await this.#digestKeyNow();
    return key && createSecretKey(Buffer.from(hkdfSync("sha256", key, "", `gluellm ${purpose}`, 32)));
  }

  /** The key of digests; undefined as long as nobody has encrypted anything. */
  async #digestKeyNow(): Promise<KeyObject | undefined> {
    this.#digestKey ??= this.#readDigestKey();
    const key = await this.#digestKey;
    // Another process may be the first that encrypts.
    if (key === undefined) this.#digestKey = undefined;
    return key;
  }

  #readDigestKey(): Promise<KeyObject | undefined> {
    const maker = this.isOn ? this.#place.ring?.wrappers[0] : undefined;
    const found = readDigestKey(this.#place, maker).then((key) => key && createSecretKey(key));
    found.catch(() => {
      this.#digestKey = undefined;
    });
    return found;
  }

  /** The data key that this process writes with. */
  #own() {
    this.#ownKey ??= this.#makeOwn();
    return this.#ownKey;
  }

  #makeOwn() {
    const [first] = this.#place.ring?.wrappers ?? [];
    if (!first) throw new TypeError("encryption is off");
    const made = currentDataKey(this.#place, first).then(async (id) => {
      const { key } = await this.#dataKey(id);
      return { id, key, sealer: new Sealer(id, key) };
    });
    made.catch(() => {
      this.#ownKey = undefined;
    });
    return made;
  }

  #dataKey(id: string) {
    const known = this.#dataKeys.get(id);
    if (known !== undefined) return known;
    const made = readDataKey(this.#place, `key:${id}`).then((key) => ({ key, opener: new Opener(key) }));
    this.#dataKeys.set(id, made);
    made.catch(() => this.#dataKeys.delete(id));
    return made;
  }
}

/** Returns whether an error says that this process lacks a key that others may have. */
export function isKeyMissing(error: unknown): error is GlueError {
  return error instanceof GlueError && error.code === KEY_MISSING;
}

function hmacOf(key: KeyObject, plain: string): string {
  return createHmac("sha256", key).update(plain).digest("hex");
}

function damaged(kind: string, id: string): GlueError {
  return new GlueError({
    code: "corrupt_data",
    category: "internal",
    message: `the ${kind} of ${id} cannot be decrypted: its data in Redis was changed, or belongs to something else`,
    hint: "look at what else writes into this Redis",
  });
}
