import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { QUEUE_DEFAULTS } from "../shared/catalog.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { registerQueue } from "../shared/queue-registry.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";

/** A producer's BullMQ queues, opened and registered on first use, over one connection. */
export class ProducerQueues {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #open = new Map<string, Promise<Queue>>();

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** @throws ConfigurationError when the namespace already has its 100 queues. */
  of(model: ModelRef): Promise<Queue> {
    const name = completionQueueName(model);
    const known = this.#open.get(name);
    if (known) return known;
    const opened = this.#openQueue(name);
    this.#open.set(name, opened);
    opened.catch(() => this.#open.delete(name));
    return opened;
  }

  async #openQueue(name: string): Promise<Queue> {
    await registerQueue(this.#redis, this.#keys, name);
    const queue = new Queue(name, {
      connection: this.#redis,
      prefix: this.#keys.prefix,
      defaultJobOptions: QUEUE_DEFAULTS,
      streams: { events: { maxLen: 1000 } },
    });
    // The connection's own listener reports faults.
    queue.on("error", () => {});
    return queue;
  }

  async close(): Promise<void> {
    for (const queue of this.#open.values()) await (await queue).close();
  }
}
