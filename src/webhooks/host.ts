import { UnrecoverableError } from "bullmq";
import { WEBHOOK_QUEUE } from "../shared/catalog.ts";
import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { hasJobs } from "../store/bullmq-internals.ts";
import { type ActiveJob, JobLoop, RetryError } from "../store/job-loop.ts";
import type { OutboxEvent } from "../store/outbox-event.ts";
import { putBack } from "../store/put-back.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { listWebhooks, readWebhook, secretsOf, switchWebhook, type WebhookRecord } from "../store/webhook.ts";
import { noteTry, type WebhookTry } from "../store/webhook-log.ts";
import { WebhookOutbox } from "../store/webhook-outbox.ts";
import { Deliveries, type Delivery, deliverySchema, RETRY_DELAYS_MS } from "./deliveries.ts";
import { messageOf } from "./message.ts";
import { type SendOutcome, sendMessage } from "./send.ts";

const LOOK_MS = 1000;
/** Events that become deliveries at a time. */
const CHUNK = 200;
/** Deliveries at a time of this process, and of those to one webhook: a slow receiver keeps no other from its events. */
const CONCURRENCY = 32;
const MAX_PER_WEBHOOK = 8;
const BUSY_MS = 1000;
/** The time that deliveries under way have when the process ends. */
const DRAIN_MS = 5000;
/** Receivers that were all away together are not asked again together: a wait is up to so much longer. */
const JITTER = 0.1;

export interface WebhookHostOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
  /** Waits before the second try and so on, in milliseconds. Default: 5 s … 25 h. */
  retryDelaysMs?: readonly number[];
}

/**
 * Tells webhooks of their events, together with the other processes that do: it makes a delivery of each event for each webhook that
 * asks for it, and sends deliveries. An event leaves the outbox when its deliveries are jobs, and a job ends when its
 * receiver has it: a process that is killed in between has another one do it again.
 */
export class WebhookHost {
  readonly #options: WebhookHostOptions;
  readonly #reader: WebhookOutbox;
  readonly #deliveries: Deliveries;
  readonly #timer: NodeJS.Timeout;
  readonly #underWay = new Map<string, number>();
  #loop: JobLoop | undefined;
  #looking: Promise<void> | undefined;
  #isClosing = false;

  constructor(options: WebhookHostOptions) {
    const { store } = options;
    this.#options = options;
    this.#reader = new WebhookOutbox(store);
    this.#deliveries = new Deliveries(store);
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  #look(): void {
    if (this.#isClosing) return;
    this.#looking ??= this.#lookOnce()
      .catch((error: Error) =>
        logFault(this.#options.logger, error.message, {}, "events cannot be read for webhooks now"),
      )
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** A namespace without webhooks costs one command, and no connection. */
  async #lookOnce(): Promise<void> {
    const { redis, keys } = this.#options.store;
    if ((await redis.exists(keys.webhooks, keys.outboxWebhooks)) === 0) return;
    if ((await redis.exists(keys.outboxWebhooks)) === 1)
      while (!this.#isClosing && (await this.#dispatch()) === CHUNK);
    if (!this.#loop && (await hasJobs(this.#options.store, WEBHOOK_QUEUE))) this.#open();
  }

  /** Returns how many events there were. */
  async #dispatch(): Promise<number> {
    const entries = await this.#reader.next(CHUNK);
    if (entries.length === 0) return 0;
    const webhooks = await listWebhooks(this.#options.store);
    const events = entries.flatMap(({ event }) => event ?? []);
    if (events.length < entries.length)
      logFault(this.#options.logger, "damaged", {}, "an entry of the outbox cannot be read and was dropped");
    await this.#deliveries.add(
      events.flatMap((event) => {
        const asking = webhooks.filter((webhook) => asksFor(webhook, event));
        return asking.map(({ id }) => ({ webhookId: id, message: messageOf(event) }));
      }),
    );
    await this.#reader.acknowledge(entries);
    return entries.length;
  }

  #open(): void {
    if (this.#isClosing) return;
    const { store, settings, logger } = this.#options;
    this.#loop = new JobLoop({
      ...{ store, logger, queue: WEBHOOK_QUEUE, lockMs: settings.lockMs, concurrency: CONCURRENCY },
      process: (active) => this.#process(active),
    });
  }

  /** One try of a delivery. @throws RetryError; UnrecoverableError when it is dead; DelayedError */
  async #process(active: ActiveJob): Promise<unknown> {
    const { store, settings } = this.#options;
    const parsed = deliverySchema.safeParse(active.job.data);
    if (!parsed.success) throw new UnrecoverableError("this is no delivery");
    const delivery = parsed.data;
    const webhook = await readWebhook(store, delivery.webhook);
    if (!webhook) return { status: "dropped", reason: "the webhook was removed" };
    if (webhook.disabledAt !== undefined)
      return this.#end(active, delivery, { durationMs: 0, error: "the webhook is disabled" }, "dead");
    const busy = this.#underWay.get(webhook.id) ?? 0;
    if (busy >= MAX_PER_WEBHOOK) return putBack(active, { delayMs: BUSY_MS, reason: "earlier deliveries" });
    this.#underWay.set(webhook.id, busy + 1);
    try {
      const secrets = secretsOf(webhook, Date.now());
      const outcome = await sendMessage(webhook.url, delivery, secrets, settings.webhooks);
      if (outcome.error === undefined) return await this.#end(active, delivery, outcome, "delivered");
      if (outcome.status !== 410) return await this.#retry(active, delivery, outcome);
      await this.#disable(webhook);
      return await this.#end(active, delivery, outcome, "dead");
    } finally {
      const left = (this.#underWay.get(webhook.id) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(webhook.id);
      else this.#underWay.set(webhook.id, left);
    }
  }

  async #disable({ id, tenant }: WebhookRecord): Promise<void> {
    const disabledReason = "the receiver answered 410: it is gone";
    if (await switchWebhook(this.#options.store, id, { disabledReason }))
      this.#options.logger.warn({ webhook: id, tenant }, "a webhook was disabled: its receiver answered 410");
  }

  async #retry(active: ActiveJob, delivery: Delivery, outcome: SendOutcome): Promise<never> {
    const { retryDelaysMs = RETRY_DELAYS_MS } = this.#options;
    const delayMs = retryDelaysMs[active.job.attemptsMade];
    if (delayMs === undefined || active.job.attemptsMade + 1 >= (active.job.opts.attempts ?? 1))
      return this.#end(active, delivery, outcome, "dead") as Promise<never>;
    const waitMs = Math.max(delayMs * (1 + JITTER * Math.random()), outcome.retryAfterMs ?? 0);
    await this.#note(active, delivery, outcome, {
      state: "retrying",
      nextTryAt: Math.round(Date.now() + waitMs),
    });
    throw new RetryError(outcome.error ?? "", Math.round(waitMs));
  }

  async #end(
    active: ActiveJob,
    delivery: Delivery,
    outcome: SendOutcome,
    state: "delivered" | "dead",
  ): Promise<unknown> {
    await this.#note(active, delivery, outcome, { state });
    const { error, status, durationMs } = outcome;
    if (state === "delivered") return { status: "delivered", answer: status, durationMs };
    this.#options.logger.warn(
      { webhook: delivery.webhook, event: delivery.eventId, fault: error },
      "a webhook's delivery is not tried any more; see `gluellm webhooks list`",
    );
    const dead = new UnrecoverableError(error);
    dead.stack = dead.message;
    throw dead;
  }

  async #note(
    { job }: ActiveJob,
    { webhook, eventId, type, body }: Delivery,
    { status, error, durationMs }: SendOutcome,
    more: Pick<WebhookTry, "state" | "nextTryAt">,
  ): Promise<void> {
    const { store } = this.#options;
    const at = clockOf(store).now();
    const tried = { eventId, type, body, attempt: job.attemptsMade + 1, at, status, error, durationMs };
    await noteTry(store, webhook, { ...tried, ...more });
  }

  /** Lets deliveries under way end for up to 5 s; what is left, other processes send. */
  async close(): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#timer);
    await within(CLOSE_MS, this.#looking ?? Promise.resolve());
    await this.#loop?.close(DRAIN_MS);
    await within(CLOSE_MS, this.#deliveries.close());
  }
}

function asksFor({ tenant, events, disabledAt }: WebhookRecord, event: OutboxEvent): boolean {
  if (tenant !== event.tenant || disabledAt !== undefined) return false;
  return events.some((pattern) => ["*", `${event.kind}.*`, event.type].includes(pattern));
}
