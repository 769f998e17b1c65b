import { Queue } from "bullmq";
import { z } from "zod";
import { QUEUE_DEFAULTS, WEBHOOK_QUEUE } from "../shared/catalog.ts";
import { registerQueue } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import type { WebhookMessage } from "../store/webhook-log.ts";

const [SECOND, MINUTE, HOUR] = [1000, 60_000, 3_600_000];
/** After these times a delivery that failed is tried again: twelve tries within 72 h. */
export const RETRY_DELAYS_MS: readonly number[] = [
  ...[5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR],
  ...[3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 25.25 * HOUR],
];

/** A delivery: a job of the queue `webhooks`. */
export const deliverySchema = z.object({
  v: z.literal(1),
  kind: z.literal("webhook"),
  webhook: z.string(),
  eventId: z.string(),
  type: z.string(),
  body: z.string(),
});
export type Delivery = z.infer<typeof deliverySchema>;

/** Adds deliveries to their queue. */
export class Deliveries {
  readonly #store: Store;
  readonly #queue: Queue;

  constructor(store: Store) {
    this.#store = store;
    this.#queue = new Queue(WEBHOOK_QUEUE, {
      connection: store.redis,
      prefix: store.keys.prefix,
      defaultJobOptions: {
        ...QUEUE_DEFAULTS,
        attempts: RETRY_DELAYS_MS.length + 1,
        backoff: { type: "webhook" },
      },
      streams: { events: { maxLen: 1000 } },
    });
    // The connection's own listener reports faults.
    this.#queue.on("error", () => {});
  }

  /** Adds deliveries of messages to webhooks. One of the same webhook, message and `round` is added once. */
  async add(
    deliveries: readonly { webhookId: string; message: WebhookMessage }[],
    round = "",
  ): Promise<void> {
    if (deliveries.length === 0) return;
    await registerQueue(this.#store, WEBHOOK_QUEUE);
    await this.#queue.addBulk(
      deliveries.map(({ webhookId, message }) => ({
        name: message.type,
        data: { v: 1, kind: "webhook", webhook: webhookId, ...message } satisfies Delivery,
        opts: { jobId: `${webhookId}.${message.eventId}${round && `.${round}`}` },
      })),
    );
  }

  close(): Promise<void> {
    return this.#queue.close();
  }
}
