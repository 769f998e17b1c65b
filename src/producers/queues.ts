import { Queue } from "bullmq";
import { QUEUE_DEFAULTS } from "../shared/catalog.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { registerQueue } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import { TenantShares } from "../store/tenant-shares.ts";

/** Redis may have been emptied since a queue was registered: new workers would not find it. */
const REGISTER_MS = 5000;

/** A producer's BullMQ queues, opened and registered on first use, over one connection. */
export class ProducerQueues {
  readonly store: Store;
  readonly #maxActive: number | undefined;
  readonly #open = new Map<string, Queue>();
  /** Gives jobs their places among those of other tenants. */
  readonly shares: TenantShares;
  readonly #registered = new Map<string, { at: number; made: Promise<void> }>();

  /** @param maxActive how many of the namespace's queues of models may have jobs at a time; default 100 */
  constructor(store: Store, maxActive?: number) {
    this.store = store;
    this.#maxActive = maxActive;
    this.shares = new TenantShares(store);
  }

  /** @throws ConfigurationError `too_many_queues` */
  of(model: ModelRef): Promise<Queue> {
    return this.registered(completionQueueName(model));
  }

  /** @throws as `of` */
  async registered(name: string): Promise<Queue> {
    const at = performance.now();
    let known = this.#registered.get(name);
    if (known === undefined || at - known.at > REGISTER_MS) {
      known = { at, made: registerQueue(this.store, name, this.#maxActive) };
      this.#registered.set(name, known);
      known.made.catch(() => this.#registered.delete(name));
    }
    await known.made;
    return this.named(name);
  }

  /** A queue that somebody has registered. */
  named(name: string): Queue {
    const known = this.#open.get(name);
    if (known) return known;
    const queue = new Queue(name, {
      connection: this.store.redis,
      prefix: this.store.keys.prefix,
      defaultJobOptions: QUEUE_DEFAULTS,
      streams: { events: { maxLen: 1000 } },
    });
    // The connection's own listener reports faults.
    queue.on("error", () => {});
    this.#open.set(name, queue);
    return queue;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((queue) => queue.close()));
  }
}
