import { z } from "zod";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * How a webhook's deliveries go: `:webhook:<id>:log`, a list of its latest tries (JSON), the latest first; and `:webhook:<id>:dead`, a hash:
 * event id → JSON of a delivery that is not tried any more and can be replayed. Both live for 30 days after their last
 * change, and go with the webhook. A delivery under way is a job of the queue `webhooks`.
 *
 * | delivery  | by            | who                                                                         |
 * |-----------|---------------|-----------------------------------------------------------------------------|
 * | delivered | `noteTry`     | the process that sent it: the receiver took it                              |
 * | retrying  | `noteTry`     | the same: it will be sent again                                             |
 * | dead      | `noteTry`     | the same, after the last try, or because its webhook was disabled           |
 * | none      | `forgetDead`  | its owner, who has replayed it                                              |
 */

const LIFE_SECONDS = 30 * 86_400;
const MAX_TRIES = 100;
const MAX_DEAD = 1000;

/** What was to be sent. */
const messageSchema = z.object({
  /** `evt_…`: the same at each try and for each webhook, by which receivers know what they have. */
  eventId: z.string(),
  type: z.string(),
  body: z.string(),
});
export type WebhookMessage = z.infer<typeof messageSchema>;

const trySchema = messageSchema.extend({
  state: z.enum(["delivered", "retrying", "dead"]),
  /** From 1. */
  attempt: z.number(),
  at: z.number(),
  /** Of the receiver's answer; absent when there was none. */
  status: z.number().optional(),
  /** Why it is not delivered. */
  error: z.string().optional(),
  durationMs: z.number(),
  nextTryAt: z.number().optional(),
});
/** A try of a delivery. Times are epoch milliseconds. */
export type WebhookTry = z.infer<typeof trySchema>;

/**
 * Notes a try. Keys: the webhook, its log, its dead deliveries. Arguments: the `entry` as JSON, its `state`, its `eventId`, the `message` as JSON.
 * Returns nothing. Called by `noteTry`, for the process that made it. Fence: a webhook that was removed gets none.
 */
const NOTE = new Script({
  keys: ["webhook", "log", "dead"],
  args: { entry: "text", state: "text", eventId: "text", message: "text" },
  lua: `
    if redis.call('EXISTS', webhook) == 0 then return end
    redis.call('LPUSH', log, entry)
    redis.call('LTRIM', log, 0, ${MAX_TRIES - 1})
    redis.call('EXPIRE', log, ${LIFE_SECONDS})
    if state == 'delivered' then redis.call('HDEL', dead, eventId)
    elseif state == 'dead' and redis.call('HLEN', dead) < ${MAX_DEAD} then
      redis.call('HSET', dead, eventId, message)
      redis.call('EXPIRE', dead, ${LIFE_SECONDS})
    end
  `,
});

export async function noteTry({ redis, keys }: Store, webhookId: string, entry: WebhookTry): Promise<void> {
  const { eventId, type, body, state } = entry;
  const message = JSON.stringify({ eventId, type, body });
  await NOTE.run(
    redis,
    { webhook: keys.webhook(webhookId), log: keys.webhookLog(webhookId), dead: keys.webhookDead(webhookId) },
    { entry: JSON.stringify(entry), state, eventId, message },
  );
}

/** Returns the latest tries, the latest first; what cannot be read is left out. */
export async function readTries(
  { redis, keys }: Store,
  webhookId: string,
  limit = MAX_TRIES,
): Promise<WebhookTry[]> {
  const entries = await redis.lrange(keys.webhookLog(webhookId), 0, limit - 1);
  return entries.flatMap((json) => trySchema.safeParse(parseJson(json)).data ?? []);
}

/** Returns how many deliveries are dead. */
export function countDead({ redis, keys }: Store, webhookId: string): Promise<number> {
  return redis.hlen(keys.webhookDead(webhookId));
}

/** Returns the dead deliveries. */
export async function readDead({ redis, keys }: Store, webhookId: string): Promise<WebhookMessage[]> {
  const found = await redis.hvals(keys.webhookDead(webhookId));
  return found.flatMap((json) => messageSchema.safeParse(fieldsOf(parseJson(json))).data ?? []);
}

/** Takes deliveries off the dead ones: they are under way again. */
export async function forgetDead(
  { redis, keys }: Store,
  webhookId: string,
  eventIds: readonly string[],
): Promise<void> {
  if (eventIds.length > 0) await redis.hdel(keys.webhookDead(webhookId), ...eventIds);
}
