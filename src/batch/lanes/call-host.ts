import { setTimeout as delay } from "node:timers/promises";
import { createBatches, hasBatches } from "../../providers/batches/create-batches.ts";
import { InputError } from "../../shared/errors.ts";
import type { Logger } from "../../shared/logger.ts";
import type { ProviderEntry } from "../../shared/providers.ts";
import type { Settings } from "../../shared/settings.ts";
import { CLOSE_MS, within } from "../../shared/within.ts";
import { Lease } from "../../store/batch-lease.ts";
import { callsOf, hasCalls } from "../../store/lane-call.ts";
import type { Store } from "../../store/store.ts";
import { CallBuyer } from "./call-buyer.ts";

const MAX_TURN_MS = 2000;

interface CallHostOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
}

/**
 * Buys the calls of jobs that asked for provider batches. Every worker process offers to, for the entries whose keys it has; one of them
 * does it for each entry, under a lease that another takes over when it dies.
 */
export class CallHost {
  readonly #options: CallHostOptions;
  readonly #closing = new AbortController();
  readonly #work: Promise<unknown>;

  constructor(options: CallHostOptions) {
    this.#options = options;
    const entries = Object.values(options.settings.providers).filter(
      (entry) => hasBatches(entry) && (entry.apiKey || entry.keyOptional),
    );
    this.#work = Promise.all(entries.map((entry) => this.#serve(entry)));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await within(CLOSE_MS, this.#work);
  }

  async #serve(entry: ProviderEntry): Promise<void> {
    const { store, settings, logger } = this.#options;
    const { signal } = this.#closing;
    const turnMs = Math.min(MAX_TURN_MS, settings.lanePollMs);
    while (!signal.aborted) {
      try {
        if (await hasCalls(store, entry.name)) await this.#host(entry, turnMs);
      } catch (error) {
        // Another process has the lease, or Redis is away.
        const isOther = error instanceof InputError && error.code === "batch_leased";
        if (!isOther)
          logger.warn({ entry: entry.name, fault: (error as Error).message }, "calls of a lane have to wait");
      }
      await delay(turnMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** Buys what is in the entry's pool until it is empty. */
  async #host(entry: ProviderEntry, turnMs: number): Promise<void> {
    const { store, settings, logger } = this.#options;
    const { signal } = this.#closing;
    const lease = await Lease.acquire(store, callsOf(entry.name));
    let buyer: CallBuyer | undefined;
    try {
      const provider = await createBatches(entry, { proxyVariables: settings.system.proxyVariables });
      buyer = new CallBuyer({ store, settings, logger, entry, provider, lease });
      while (!signal.aborted && (await buyer.turn()))
        await delay(turnMs, undefined, { signal, ref: false }).catch(() => {});
    } finally {
      await buyer?.close();
      await lease.release().catch(() => {});
    }
  }
}
