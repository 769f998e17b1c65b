import { EventEmitter, once } from "node:events";
import {
  type Claim,
  claimEntry,
  type Failure,
  keepEntry,
  peekEntry,
  releaseLead,
  renewLead,
} from "./cache-entry.ts";
import type { Store } from "./store.ts";

const RENEW_MS = 2000;
/** How long callers wait in their place for the one that leads, and how many of a process do at a time. */
const MAX_WAIT_MS = 1000;
const MAX_WAITING = 8;

interface CacheStoreOptions {
  store: Store;
  /** Of all entries together, least recently used ones go first. */
  maxBytes: number;
}

/** Keeps texts by digest that expire, shared by all processes of the namespace, each made by one of its callers at a time. */
export class CacheStore {
  readonly #options: CacheStoreOptions;
  readonly #ended = new EventEmitter().setMaxListeners(0);
  #waiting = 0;

  constructor(options: CacheStoreOptions) {
    this.#options = options;
  }

  /**
   * Looks for the entry, and takes the lead when there is none.
   * @param maxAgeMs an older entry counts as absent
   */
  async claim(plain: string, token: string, maxAgeMs: number): Promise<Claim> {
    const digest = await this.#stored(plain);
    return claimEntry(this.#options.store, { digest, token }, maxAgeMs);
  }

  /**
   * Returns what stands under a digest, which counts as a use of it; undefined for nothing.
   * @param maxAgeMs an older entry counts as absent
   */
  async peek(digest: string, maxAgeMs: number): Promise<string | undefined> {
    return peekEntry(this.#options.store, await this.#stored(digest), maxAgeMs);
  }

  /** Renews the lead until it is disposed of. */
  holdLead(plain: string, token: string): Disposable {
    const renew = () =>
      this.#stored(plain)
        .then((digest) => renewLead(this.#options.store, { digest, token }))
        .catch(() => {});
    const timer = setInterval(renew, RENEW_MS);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** Ends the lead, when the caller has it. What finds no room is not kept, and nobody need wait for it. */
  async keep(digest: string, token: string, text: string, ttlSeconds: number): Promise<void> {
    const { store, maxBytes } = this.#options;
    const entry = { text, ttlSeconds, maxBytes };
    const claimant = { digest: await this.#stored(digest), token };
    const isKept = await keepEntry(store, claimant, entry).catch(async (error: unknown) => {
      // Deleting needs no memory, which may be what is lacking: nobody need wait for the lead's end.
      await this.release(digest, token, "passing");
      throw error;
    });
    if (!isKept) await this.release(digest, token, "lasting");
  }

  /** Ends the lead without an entry. */
  async release(plain: string, token: string, failure: Failure): Promise<void> {
    const digest = await this.#stored(plain);
    return releaseLead(this.#options.store, { digest, token }, failure);
  }

  /**
   * Resolves when the digest's lead ended, or the signal aborts, at the latest after a second. False at once when this
   * process has enough who wait.
   */
  async waitForEnd(digest: string, signal: AbortSignal): Promise<boolean> {
    if (this.#waiting >= MAX_WAITING) return false;
    this.#waiting += 1;
    const end = AbortSignal.any([signal, AbortSignal.timeout(MAX_WAIT_MS)]);
    await once(this.#ended, await this.#stored(digest), { signal: end }).catch(() => {});
    this.#waiting -= 1;
    return true;
  }

  #stored(digest: string): Promise<string> {
    return this.#options.store.sealing.digest(digest);
  }

  /** A digest's lead ended, says the namespace's channel. */
  onMessage(digest: string): void {
    this.#ended.emit(digest);
  }
}
