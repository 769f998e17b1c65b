import { EventEmitter, once } from "node:events";
import { CLAIM, KEEP, RELEASE, RENEW } from "./cache-scripts.ts";
import type { Store } from "./store.ts";

const LEASE_MS = 6000;
const RENEW_MS = 2000;
/** After so many failures in a row, callers of an entry no longer wait for each other for a while. */
const MAX_FAILURES = 3;
const FAILURES_LIFE_MS = 30_000;
/** How long callers wait in their place for the one that leads, and how many of a process do at a time. */
const MAX_WAIT_MS = 1000;
const MAX_WAITING = 8;
/** What an entry takes in Redis at most: its text as the allocator rounds it, its key and its place in the books. */
const memoryOf = (text: string) => Math.ceil(Buffer.byteLength(text) * 1.25) + 600;

/** What stands under a digest: an entry, or who is to make it. */
export type Claim =
  | { kind: "hit"; text: string }
  /** This caller, which has to `keep` or `release` it. */
  | { kind: "lead" }
  /** Another one, which has been at it for so long. */
  | { kind: "follow"; elapsedMs: number }
  /** Every caller for itself: those before it failed. */
  | { kind: "alone" };

/** How an entry's maker failed: by no fault of the entry, in a way that may pass, or as everyone will. */
type Failure = "none" | "passing" | "lasting";
const WEIGHTS: Readonly<Record<Failure, number>> = { none: 0, passing: 1, lasting: MAX_FAILURES };

interface CacheStoreOptions {
  store: Store;
  /** Of all entries together, least recently used ones go first. */
  maxBytes: number;
}

/** Texts by digest that expire, shared by all processes of the namespace, each made by one of its callers at a time. */
export class CacheStore {
  readonly #options: CacheStoreOptions;
  readonly #ended = new EventEmitter().setMaxListeners(0);
  #waiting = 0;

  constructor(options: CacheStoreOptions) {
    this.#options = options;
  }

  /** @param maxAgeMs an older entry counts as absent */
  async claim(digest: string, token: string, maxAgeMs: number): Promise<Claim> {
    const { store } = this.#options;
    const [kind, detail] = (await CLAIM.run(
      store.redis,
      [store.keys.cached(digest), store.keys.cacheLead(digest), store.keys.cacheUses],
      [digest, token, LEASE_MS, maxAgeMs, MAX_FAILURES],
    )) as [Claim["kind"], (string | number)?];
    const text = String(detail);
    if (kind === "hit") return { kind, text: text.slice(text.indexOf(" ") + 1) };
    return kind === "follow" ? { kind, elapsedMs: Number(detail) } : { kind };
  }

  /** Renews the lead until it is disposed of. */
  holdLead(digest: string, token: string): Disposable {
    const { store } = this.#options;
    const timer = setInterval(() => {
      RENEW.run(store.redis, [store.keys.cacheLead(digest)], [token, LEASE_MS]).catch(() => {});
    }, RENEW_MS);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** Ends the lead, when the caller has it. What finds no room is not kept, and nobody need wait for it. */
  async keep(digest: string, token: string, text: string, ttlSeconds: number): Promise<void> {
    const { store, maxBytes } = this.#options;
    const args = [store.keys.cached(""), digest, token, text, ttlSeconds * 1000, memoryOf(text), maxBytes];
    const kept = await KEEP.run(
      store.redis,
      [store.keys.cached(digest), store.keys.cacheLead(digest), store.keys.cacheUses, store.keys.cacheSizes],
      [...args, store.keys.channel, `cache:${digest}`],
    ).catch(async (error: unknown) => {
      // Deleting needs no memory, which may be what is lacking: nobody need wait for the lead's end.
      await this.release(digest, token, "passing");
      throw error;
    });
    if (kept === 0) await this.release(digest, token, "lasting");
  }

  /** Ends the lead without an entry. */
  async release(digest: string, token: string, failure: Failure): Promise<void> {
    const { store } = this.#options;
    const args = [token, WEIGHTS[failure], FAILURES_LIFE_MS, store.keys.channel, `cache:${digest}`];
    await RELEASE.run(store.redis, [store.keys.cacheLead(digest)], args);
  }

  /**
   * Resolves when the digest's lead ended, or the signal aborts, at the latest after a second. False at once when this
   * process has enough who wait.
   */
  async waitForEnd(digest: string, signal: AbortSignal): Promise<boolean> {
    if (this.#waiting >= MAX_WAITING) return false;
    this.#waiting += 1;
    const end = AbortSignal.any([signal, AbortSignal.timeout(MAX_WAIT_MS)]);
    await once(this.#ended, digest, { signal: end }).catch(() => {});
    this.#waiting -= 1;
    return true;
  }

  /** A digest's lead ended, says the namespace's channel. */
  onMessage(digest: string): void {
    this.#ended.emit(digest);
  }
}
