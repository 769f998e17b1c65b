import { randomBytes } from "node:crypto";
import { z } from "zod";
import { objectId } from "../shared/object-id.ts";
import { readStored } from "../shared/stored-data.ts";
import { isOwnedBy, tenantSchema } from "../shared/tenant.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A webhook: whom to tell of a tenant's events. The hash `:webhook:<id>`, listed in the sorted set `:webhooks` by its making. What all
 * enabled ones of a tenant ask for stands in `:outbox` (outbox.ts), which the scripts here keep in line, so that events
 * are written from then on.
 *
 * | from             | to       | by              | who                                                       |
 * |------------------|----------|-----------------|-----------------------------------------------------------|
 * | none             | enabled  | `saveWebhook`   | its owner                                                 |
 * | enabled          | disabled | `switchWebhook` | the sender: the receiver says that it is gone for good (410); its owner |
 * | disabled         | enabled  | `switchWebhook` | its owner                                                 |
 * | any              | none     | `removeWebhook` | its owner                                                 |
 *
 * It stays until it is removed: it is what a user has set up. How its deliveries go is in webhook-log.ts.
 */

/** The most webhooks of one tenant. */
export const MAX_WEBHOOKS = 100;

/**
 * How a secret lies in Redis: a word for its form, a colon, the value. One form so far; sealed ones come beside it.
 */
const SECRET_FORM = "plain:";
const secretSchema = z
  .string()
  .refine((text) => text.startsWith(SECRET_FORM), "is of a form that this version does not know")
  .transform((text) => text.slice(SECRET_FORM.length));

const time = z.coerce.number().optional();
const webhookSchema = z.object({
  id: z.string(),
  tenant: tenantSchema,
  url: z.string(),
  events: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(z.array(z.string())),
  secret: secretSchema,
  /** The one before, which counts beside it up to a time. */
  previousSecret: secretSchema.optional(),
  previousUntil: time,
  /** Epoch milliseconds, as all times here. */
  createdAt: z.coerce.number(),
  disabledAt: time,
  disabledReason: z.string().optional(),
});
/** A webhook with its secrets: for the sender alone. */
export type WebhookRecord = z.infer<typeof webhookSchema>;

/** Returns a new secret: `whsec_` and 32 random bytes. */
function newSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

/**
 * Lua: `tellOutbox(tenant)` writes down what the tenant's enabled webhooks ask for. It needs locals `webhooks`, `outbox` and `head`, the
 * key of a webhook without its id.
 */
const TELL_OUTBOX = `
  local function tellOutbox(tenant)
    local asked, patterns = {}, {}
    for _, id in ipairs(redis.call('ZRANGE', webhooks, 0, -1)) do
      local found = redis.call('HMGET', head .. id, 'tenant', 'events', 'disabledAt')
      if found[1] == tenant and found[2] and not found[3] then
        for _, pattern in ipairs(cjson.decode(found[2])) do
          if not asked[pattern] then patterns[#patterns + 1] = pattern end
          asked[pattern] = true
        end
      end
    end
    local field = 'webhooks:' .. tenant
    if #patterns == 0 then redis.call('HDEL', outbox, field)
    else redis.call('HSET', outbox, field, '|' .. table.concat(patterns, '|') .. '|') end
  end
`;

const KEYS = ["webhook", "webhooks", "outbox"] as const;
function keysOf({ keys }: Pick<Store, "keys">, id: string) {
  return { webhook: keys.webhook(id), webhooks: keys.webhooks, outbox: keys.outbox };
}

/**
 * Writes a new webhook. Keys: the webhook, all of them, the outbox. Arguments: `id`, `tenant`, `head`; names and values of fields.
 * Returns: 1, or 0 when the tenant has so many already. Called by `saveWebhook`. Fence: none; the id is new.
 */
const SAVE = new Script({
  keys: KEYS,
  args: { id: "text", tenant: "text", head: "text" },
  moreArgs: "fields",
  lua: `${NOW}${TELL_OUTBOX}
    local own = 0
    for _, other in ipairs(redis.call('ZRANGE', webhooks, 0, -1)) do
      if redis.call('HGET', head .. other, 'tenant') == tenant then own = own + 1 end
    end
    if own >= ${MAX_WEBHOOKS} then return 0 end
    redis.call('HSET', webhook, 'id', id, 'tenant', tenant, 'createdAt', string.format('%.0f', now), unpack(fields))
    redis.call('ZADD', webhooks, now, id)
    tellOutbox(tenant)
    return 1
  `,
});

/** Makes a webhook, and returns it with its secret; undefined when its tenant has `MAX_WEBHOOKS` already. */
export async function saveWebhook(
  store: Store,
  { tenant, url, events }: Pick<WebhookRecord, "tenant" | "url" | "events">,
): Promise<WebhookRecord | undefined> {
  const id = objectId("wh_");
  const fields = { url, events: JSON.stringify(events), secret: SECRET_FORM + newSecret() };
  const args = { id, tenant, head: store.keys.webhook("") };
  const made = await SAVE.run(store.redis, keysOf(store, id), args, { args: Object.entries(fields).flat() });
  return made === 1 ? readWebhook(store, id) : undefined;
}

/** Returns a webhook; undefined when there is none, or none of that tenant. @throws GlueError `corrupt_data` */
export async function readWebhook(
  store: Store,
  id: string,
  tenant?: string,
): Promise<WebhookRecord | undefined> {
  const fields = await store.redis.hgetall(store.keys.webhook(id));
  if (fields.id === undefined) return undefined;
  const webhook = readStored(`the webhook ${id}`, () => webhookSchema.parse(fields));
  return tenant === undefined || isOwnedBy(tenant, webhook) ? webhook : undefined;
}

/** Returns the webhooks of a tenant, or all of them, the oldest first; one that cannot be read hides no others. */
export async function listWebhooks(store: Store, tenant?: string): Promise<WebhookRecord[]> {
  const ids = await store.redis.zrange(store.keys.webhooks, "0", "-1");
  const found = await Promise.all(ids.map((id) => readWebhook(store, id, tenant).catch(() => undefined)));
  return found.filter((webhook) => webhook !== undefined);
}

/**
 * Enables or disables a webhook. Keys: the webhook, all of them, the outbox. Arguments: `head`, whether it `isEnabled`, why not. Returns: 1
 * when it stands so from now on, 0 when it did before, or nothing without a webhook. Called by `switchWebhook`. Fence: none; the first reason stands.
 */
const SWITCH = new Script({
  keys: KEYS,
  args: { head: "text", isEnabled: "flag", reason: "text" },
  lua: `${NOW}${TELL_OUTBOX}
    local tenant = redis.call('HGET', webhook, 'tenant')
    if not tenant then return false end
    if (redis.call('HEXISTS', webhook, 'disabledAt') == 0) == isEnabled then return 0 end
    if isEnabled then redis.call('HDEL', webhook, 'disabledAt', 'disabledReason')
    else redis.call('HSET', webhook, 'disabledAt', string.format('%.0f', now), 'disabledReason', reason) end
    tellOutbox(tenant)
    return 1
  `,
});

/** Enables a webhook, or disables it for a reason. Returns whether that is new. */
export async function switchWebhook(
  store: Store,
  id: string,
  to: "enabled" | { disabledReason: string },
): Promise<boolean> {
  const isEnabled = to === "enabled";
  const args = { head: store.keys.webhook(""), isEnabled, reason: isEnabled ? "" : to.disabledReason };
  return (await SWITCH.run(store.redis, keysOf(store, id), args)) === 1;
}

/**
 * Removes a webhook with its log. Keys: the webhook, all of them, the outbox, its log, its dead deliveries. Arguments: `id`, `head`. Returns: whether there
 * was one. Called by `removeWebhook`. Fence: none.
 */
const REMOVE = new Script({
  keys: [...KEYS, "log", "dead"],
  args: { id: "text", head: "text" },
  lua: `${TELL_OUTBOX}
    local tenant = redis.call('HGET', webhook, 'tenant')
    redis.call('ZREM', webhooks, id)
    redis.call('DEL', webhook, log, dead)
    if not tenant then return 0 end
    tellOutbox(tenant)
    return 1
  `,
});

/** Removes a webhook; what is under way to it is dropped. Returns false when there was none. */
export async function removeWebhook(store: Store, id: string): Promise<boolean> {
  const keys = { ...keysOf(store, id), log: store.keys.webhookLog(id), dead: store.keys.webhookDead(id) };
  return (await REMOVE.run(store.redis, keys, { id, head: store.keys.webhook("") })) === 1;
}

/**
 * Gives a webhook a new secret. Keys: the webhook. Arguments: the `secret`; `overlapEnd`, until when the one before counts, as text. Returns
 * nothing. Called by `rotateSecret`. Fence: a webhook that was removed gets none.
 */
const ROTATE = new Script({
  keys: ["webhook"],
  args: { secret: "text", overlapEnd: "text" },
  lua: `
    local standing = redis.call('HGET', webhook, 'secret')
    if not standing then return end
    redis.call('HSET', webhook, 'secret', secret, 'previousSecret', standing, 'previousUntil', overlapEnd)
  `,
});

/**
 * Gives a webhook a new secret; the one before counts beside it for `overlapMs`. Returns the webhook with the new secret; undefined
 * when there is none any more.
 */
export async function rotateSecret(
  store: Store,
  id: string,
  overlapMs: number,
): Promise<WebhookRecord | undefined> {
  const args = { secret: SECRET_FORM + newSecret(), overlapEnd: `${Date.now() + overlapMs}` };
  await ROTATE.run(store.redis, { webhook: store.keys.webhook(id) }, args);
  return readWebhook(store, id);
}

/** Returns the secrets that count at a time, the newest first. */
export function secretsOf(
  { secret, previousSecret, previousUntil = 0 }: WebhookRecord,
  now: number,
): string[] {
  return previousSecret !== undefined && previousUntil > now ? [secret, previousSecret] : [secret];
}
