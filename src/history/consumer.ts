import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../shared/logger.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { keepHistory } from "../store/outbox.ts";
import { readOutboxEvent } from "../store/outbox-event.ts";
import { forgetEntries, ReaderLease, readHistoryEntries, readHistoryLag } from "../store/outbox-reader.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import type { GroupEntry } from "../store/stream-group.ts";
import { listTenants } from "../store/tenant.ts";
import type { HistoryDatabase } from "./database.ts";
import { partsOf } from "./event-rows.ts";
import { faultOf, type HistoryPlace, openHistory } from "./open-history.ts";
import { enforceRetention } from "./retention.ts";

/** Ends are written down for so long after the last process with a consumer has gone. */
const KEEP_MS = 7 * 86_400_000;
const KEEP_EVERY_MS = 60_000;
/** A day of one end per second; whole texts take more of Redis' memory. */
const MAX_WAITING = { preview: 100_000, none: 100_000, full: 10_000 } as const;

/** Renewed at every look. Two that work at once do no harm. */
const LEASE_MS = 5000;
const IDLE_MS = 1000;
/** Between looks whether all is written. */
const CAUGHT_UP_MS = 50;
/** Read at a time: to read them takes some milliseconds, in which the process does nothing else. */
const ENTRIES = 200;
/** Between tries to open a database that is away. */
const REOPEN_MS = 5000;
/** Between the lines that say that it is away. */
const SAY_EVERY_MS = 60_000;
const RETENTION_EVERY_MS = 3_600_000;

export interface HistoryConsumerOptions {
  store: Store;
  settings: HistoryPlace;
  logger: Logger;
  /** How often it looks when there is nothing to do. Default: every second. */
  idleMs?: number;
  /** For tests: for how long after its last look it keeps others from working. Default: 5 seconds. */
  leaseMs?: number;
}

/**
 * Takes what has ended from Redis into the history's database. Any number of processes may have one; that with the lease works. An
 * entry is acknowledged after its commit, and a second delivery changes nothing; nobody's work waits for it.
 */
export class HistoryConsumer {
  readonly #options: HistoryConsumerOptions;
  readonly #lease: ReaderLease;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #database: HistoryDatabase | undefined;
  /** What was read and not acknowledged comes first. */
  #readsAgain = true;
  #keptAt = Number.NEGATIVE_INFINITY;
  #saidAt = Number.NEGATIVE_INFINITY;
  #sweptAt = Number.NEGATIVE_INFINITY;
  #isDown = false;

  constructor(options: HistoryConsumerOptions) {
    this.#options = options;
    this.#lease = new ReaderLease(options.store);
    this.#running = this.#run();
  }

  /** Waits until the database has all that has ended, whoever writes it. Returns how many ends it does not have after `withinMs`. */
  async caughtUp(withinMs: number): Promise<number> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const { waiting } = await readHistoryLag(this.#options.store);
      if (waiting === 0 || performance.now() > deadline) return waiting;
      await delay(CAUGHT_UP_MS);
    }
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
      let waitMs = idleMs;
      try {
        await this.#keep();
        if (await this.#turn()) waitMs = 0;
      } catch (error) {
        waitMs = this.#database ? idleMs : REOPEN_MS;
        this.#readsAgain = true;
        await this.#sayDown(error);
      }
      if (waitMs > 0)
        await delay(waitMs, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {});
    }
  }

  /** Has ends written to the stream. */
  async #keep(): Promise<void> {
    if (performance.now() - this.#keptAt < KEEP_EVERY_MS) return;
    const { store, settings } = this.#options;
    await keepHistory(store, { forMs: KEEP_MS, maxEntries: MAX_WAITING[settings.history.content] });
    this.#keptAt = performance.now();
    // Where there is always something new.
    this.#readsAgain = true;
  }

  /** Returns whether there may be more to do at once. */
  async #turn(): Promise<boolean> {
    const { store, settings, logger, leaseMs = LEASE_MS } = this.#options;
    if (!(await this.#lease.hold(leaseMs))) {
      // Who has it may leave something behind.
      this.#readsAgain = true;
      return false;
    }
    const again = this.#readsAgain;
    const entries = await readHistoryEntries(store, { limit: ENTRIES, again });
    if (entries.length === 0) {
      // What a reply brought that was lost with its connection, nobody has, and nobody reads anew.
      this.#readsAgain = !again && (await readHistoryLag(store)).waiting > 0;
      if (!again) await this.#sweep();
      return again || this.#readsAgain;
    }
    this.#database ??= await openHistory(settings);
    for await (const { rows, ids } of partsOf(store, this.#eventsOf(entries))) {
      await this.#database.write(rows);
      await forgetEntries(store, ids);
    }
    if (this.#isDown) logger.info({ place: this.#database.place }, "the history is written again");
    this.#isDown = false;
    return true;
  }

  #eventsOf(entries: readonly GroupEntry[]) {
    const events = entries.map(({ id, fields }) => ({ id, event: readOutboxEvent(fields) }));
    const count = events.filter(({ event }) => event === undefined).length;
    if (count > 0)
      this.#options.logger.warn(
        { count },
        "ends cannot be read for the history; gluellm history backfill looks for them",
      );
    return events;
  }

  async #sweep(): Promise<void> {
    if (performance.now() - this.#sweptAt < RETENTION_EVERY_MS) return;
    const { store, settings, logger } = this.#options;
    this.#sweptAt = performance.now();
    this.#database ??= await openHistory(settings);
    const now = await clockOf(store).fresh();
    const tenants = await listTenants(store);
    const { signal } = this.#closing;
    const removed = await enforceRetention(this.#database, settings.history, { now, tenants, signal });
    if (Object.keys(removed).length > 0)
      logger.info({ removed }, "the history was cleared of what stays no longer");
  }

  async #sayDown(error: unknown): Promise<void> {
    const { store, logger } = this.#options;
    this.#isDown = true;
    if (performance.now() - this.#saidAt < SAY_EVERY_MS || this.#closing.signal.aborted) return;
    this.#saidAt = performance.now();
    const lag = await readHistoryLag(store).catch(() => undefined);
    logger.warn(
      { fault: faultOf(error), waiting: lag?.waiting },
      "the history cannot be written; what ends waits in Redis",
    );
  }
}
