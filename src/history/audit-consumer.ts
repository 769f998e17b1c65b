import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { Audit, forgetActs, noteHead, oldestEntries, readAuditState, switchAuditOn } from "../store/audit.ts";
import { ReaderLease } from "../store/outbox-reader.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { addToChain, expireActs } from "./audit-chain.ts";
import type { HistoryDatabase } from "./database.ts";
import { faultOf, type HistoryPlace, openHistory } from "./open-history.ts";

const LEASE_MS = 5000;
const IDLE_MS = 1000;
const ENTRIES = 500;
const SAY_EVERY_MS = 60_000;
const RETENTION_EVERY_MS = 3_600_000;

export interface AuditConsumerOptions {
  store: Store;
  settings: HistoryPlace & Pick<Settings, "audit">;
  logger: Logger;
  /** For tests: how often it looks. Default: every second. */
  idleMs?: number;
  /** For tests: for how long after its last look it keeps others from working. Default: 5 seconds. */
  leaseMs?: number;
}

/**
 * Switches the audit on, and takes its entries from Redis into the chain in SQL. Any number of processes may have one; that with the lease
 * works. An entry leaves Redis after its commit, and comes into the chain once.
 */
export class AuditConsumer {
  readonly #options: AuditConsumerOptions;
  readonly #lease: ReaderLease;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #database: HistoryDatabase | undefined;
  #isOn = false;
  #saidAt = Number.NEGATIVE_INFINITY;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(options: AuditConsumerOptions) {
    this.#options = options;
    this.#lease = new ReaderLease(options.store, options.store.keys.outboxAuditLease);
    this.#running = this.#run();
  }

  /** Ends after what it is about to commit, if that is soon. */
  async close(): Promise<void> {
    this.#closing.abort();
    await within(CLOSE_MS, this.#running);
    await within(CLOSE_MS, this.#lease.end());
    await within(CLOSE_MS, Promise.resolve(this.#database?.close()));
  }

  async #run(): Promise<void> {
    const { idleMs = IDLE_MS } = this.#options;
    while (!this.#closing.signal.aborted) {
      let isMore = false;
      try {
        isMore = await this.#turn();
      } catch (error) {
        this.#sayDown(error);
      }
      if (!isMore)
        await delay(idleMs, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {});
    }
  }

  /** Returns whether there may be more to do at once. */
  async #turn(): Promise<boolean> {
    const { store, settings, leaseMs = LEASE_MS } = this.#options;
    const { keys, maxWaiting } = settings.audit;
    const [key] = keys;
    if (!key) return false;
    if (!this.#isOn) await switchAuditOn(store, maxWaiting);
    this.#isOn = true;
    if (!(await this.#lease.hold(leaseMs))) return false;
    const entries = await oldestEntries(store, ENTRIES);
    if (entries.length === 0) {
      await this.#sweep();
      return false;
    }
    this.#database ??= await openHistory(settings);
    const { head, hash = "" } = await readAuditState(store);
    const added = await addToChain(this.#database, entries, { key, noted: { seq: head, hash } });
    await noteHead(store, added.seq, added.hash);
    await forgetActs(
      store,
      entries.map(({ id }) => id),
    );
    return true;
  }

  async #sweep(): Promise<void> {
    if (performance.now() - this.#sweptAt < RETENTION_EVERY_MS) return;
    this.#sweptAt = performance.now();
    const { store, settings } = this.#options;
    this.#database ??= await openHistory(settings);
    const before = (await clockOf(store).fresh()) - settings.history.retentionMs.audit;
    await expireActs(this.#database, new Audit(store), before);
  }

  #sayDown(error: unknown): void {
    if (performance.now() - this.#saidAt < SAY_EVERY_MS || this.#closing.signal.aborted) return;
    this.#saidAt = performance.now();
    this.#options.logger.warn(
      { fault: faultOf(error) },
      "the audit cannot be written; its entries wait in Redis, and when too many do, acts are refused",
    );
  }
}
