import { closestNames } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import { objectId } from "../shared/object-id.ts";
import type { Settings } from "../shared/settings.ts";
import { EVENT_TYPES } from "../store/outbox-event.ts";
import type { Store } from "../store/store.ts";
import {
  listWebhooks,
  MAX_WEBHOOKS,
  readWebhook,
  removeWebhook,
  rotateSecret,
  saveWebhook,
  secretsOf,
  switchWebhook,
  type WebhookRecord,
} from "../store/webhook.ts";
import {
  countDead,
  forgetDead,
  readDead,
  readTries,
  type WebhookMessage,
  type WebhookTry,
} from "../store/webhook-log.ts";
import { checkWebhookUrl } from "./address.ts";
import { Deliveries } from "./deliveries.ts";
import { testMessage } from "./message.ts";
import { type SendOutcome, sendMessage } from "./send.ts";

/** For how long the secret before counts beside a new one, where the caller does not say. */
const DEFAULT_OVERLAP_MS = 86_400_000;

const PATTERNS: readonly string[] = [
  "*",
  ...new Set(EVENT_TYPES.map((type) => type.replace(/\..*/, ".*"))),
  ...EVENT_TYPES,
];

/** A try of a delivery, as its owner sees it. */
export type DeliveryTry = Omit<WebhookTry, "body" | "at" | "nextTryAt"> & { at: Date; nextTryAt?: Date };

/** A webhook as its owner sees it. */
export interface Webhook {
  id: string;
  tenant: string;
  url: string;
  events: string[];
  state: "enabled" | "disabled";
  disabledReason?: string;
  createdAt: Date;
  /** Until when signatures by the secret before the present one go along. */
  previousSecretUntil?: Date;
  /** Deliveries that are not tried any more and can be replayed. */
  dead: number;
  lastTry?: DeliveryTry;
}

export interface WebhooksOptions {
  store: Store;
  settings: Settings;
}

/**
 * A tenant's webhooks. Where a method takes an id: of another tenant's it says `unknown_webhook`, as of none; without a
 * tenant it takes all.
 */
export class Webhooks {
  readonly #store: Store;
  readonly #settings: Settings;
  readonly #tenant: string | undefined;

  constructor({ store, settings }: WebhooksOptions, tenant?: string) {
    this.#store = store;
    this.#settings = settings;
    this.#tenant = tenant;
  }

  /**
   * Makes a webhook. Its secret is told this once.
   * @param events `*`, `batch.*`, `job.failed` …
   * @throws InputError `webhook_url`, `webhook_address`, `webhook_events`, `too_many_webhooks`
   */
  async add(tenant: string, url: string, events: readonly string[]): Promise<Webhook & { secret: string }> {
    const patterns = [...new Set(events)];
    if (patterns.length === 0) throw eventsError("a webhook needs events", PATTERNS);
    for (const pattern of patterns)
      if (!PATTERNS.includes(pattern)) {
        const near = closestNames(pattern, PATTERNS);
        throw eventsError(
          `there are no events "${pattern.slice(0, 100)}"`,
          near.length > 0 ? near : PATTERNS,
        );
      }
    const checked = await checkWebhookUrl(url, this.#settings.webhooks.allowPrivate);
    const webhook = await saveWebhook(this.#store, { tenant, url: checked.href, events: patterns });
    if (!webhook)
      throw new InputError(
        `there are ${MAX_WEBHOOKS} webhooks already`,
        "remove those that are not needed",
        "too_many_webhooks",
      );
    return { ...(await this.#view(webhook)), secret: webhook.secret };
  }

  /** Returns them, the oldest first. */
  async list(): Promise<Webhook[]> {
    const webhooks = await listWebhooks(this.#store, this.#tenant);
    return Promise.all(webhooks.map((webhook) => this.#view(webhook)));
  }

  /** @throws InputError `unknown_webhook`; so do the others */
  async get(id: string): Promise<Webhook> {
    return this.#view(await this.#read(id));
  }

  async remove(id: string): Promise<void> {
    await this.#read(id);
    await removeWebhook(this.#store, id);
  }

  /** Lets a disabled one have events again, from now on. */
  async enable(id: string): Promise<Webhook> {
    await this.#read(id);
    await switchWebhook(this.#store, id, "enabled");
    return this.get(id);
  }

  /** Gives it a new secret, which is told this once; the one before counts beside it for a time. */
  async rotate(id: string, overlapMs = DEFAULT_OVERLAP_MS): Promise<Webhook & { secret: string }> {
    await this.#read(id);
    const rotated = await rotateSecret(this.#store, id, overlapMs);
    if (!rotated) throw unknownWebhook(id);
    return { ...(await this.#view(rotated)), secret: rotated.secret };
  }

  /** Sends an event `webhook.test` at once, from this process. Returns how that went. */
  async test(id: string): Promise<SendOutcome> {
    const webhook = await this.#read(id);
    const message = testMessage(objectId("evt_"), webhook.tenant);
    const secrets = secretsOf(webhook, Date.now());
    return sendMessage(webhook.url, message, secrets, this.#settings.webhooks);
  }

  /** Returns its latest 100 tries, the latest first. */
  async tries(id: string): Promise<DeliveryTry[]> {
    await this.#read(id);
    return (await readTries(this.#store, id)).map(shownTry);
  }

  /**
   * Delivers again, under their old ids: all dead deliveries, or the one of `eventId`, which may also be one of the latest tries.
   * Returns how many. @throws InputError `unknown_event`; `webhook_disabled`
   */
  async replay(id: string, eventId?: string): Promise<number> {
    const webhook = await this.#read(id);
    if (webhook.disabledAt !== undefined)
      throw new InputError(`webhook ${id} is disabled`, "enable it first", "webhook_disabled");
    const messages = await this.#replayed(id, eventId);
    const deliveries = new Deliveries(this.#store);
    try {
      const round = `r${Date.now()}`;
      await deliveries.add(
        messages.map((message) => ({ webhookId: id, message })),
        round,
      );
    } finally {
      await deliveries.close();
    }
    await forgetDead(
      this.#store,
      id,
      messages.map((message) => message.eventId),
    );
    return messages.length;
  }

  async #replayed(id: string, eventId: string | undefined): Promise<WebhookMessage[]> {
    const dead = await readDead(this.#store, id);
    if (eventId === undefined) return dead;
    const known = [...dead, ...(await readTries(this.#store, id))].find((each) => each.eventId === eventId);
    if (known) return [{ eventId, type: known.type, body: known.body }];
    throw new InputError(
      `webhook ${id} has no event ${eventId.slice(0, 100)}`,
      "it has its dead deliveries and its latest 100 tries",
      "unknown_event",
    );
  }

  async #read(id: string): Promise<WebhookRecord> {
    const webhook = /^wh_[0-9a-f-]{36}$/.test(id) && (await readWebhook(this.#store, id, this.#tenant));
    return webhook || throwUnknown(id);
  }

  async #view(webhook: WebhookRecord): Promise<Webhook> {
    const { id, tenant, url, events, createdAt, disabledAt, disabledReason, previousUntil = 0 } = webhook;
    const [dead, [last]] = await Promise.all([countDead(this.#store, id), readTries(this.#store, id, 1)]);
    return {
      ...{ id, tenant, url, events, createdAt: new Date(createdAt), dead },
      state: disabledAt === undefined ? "enabled" : "disabled",
      ...(disabledAt !== undefined && { disabledReason }),
      ...(previousUntil > Date.now() && { previousSecretUntil: new Date(previousUntil) }),
      ...(last && { lastTry: shownTry(last) }),
    };
  }
}

function shownTry({ body: _body, at, nextTryAt, ...tried }: WebhookTry): DeliveryTry {
  return {
    ...tried,
    at: new Date(at),
    ...(nextTryAt !== undefined && { nextTryAt: new Date(nextTryAt) }),
  };
}

function eventsError(message: string, known: readonly string[]): InputError {
  return new InputError(message, `there are: ${known.join(", ")}`, "webhook_events");
}

function throwUnknown(id: string): never {
  throw unknownWebhook(id);
}

function unknownWebhook(id: string): InputError {
  return new InputError(
    `no webhook "${id.slice(0, 100)}"`,
    "gluellm webhooks list shows those there are",
    "unknown_webhook",
  );
}
