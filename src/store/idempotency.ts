import { z } from "zod";
import { askedOf, type RunOptions } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { requestDigest } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { readStored } from "../shared/stored-data.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A caller's key for a request: a string at `idempotency:<key>`, the JSON of a job id and of what the job asks.
 *
 * | from  | to    | by             | who                                                  |
 * |-------|-------|----------------|------------------------------------------------------|
 * | none  | taken | `reserveJobId` | a producer, before it adds the job                   |
 * | taken | none  | –              | 7 days after it was taken, and after the job's delay |
 */

const TTL_MS = 7 * 86_400_000;

/**
 * Takes a key that is free.
 * Keys: the idempotency key. Arguments: the reservation as JSON, its life. Returns: the reservation that stands now.
 * Called by `reserveJobId`. Fence: none; the first one under a key stays.
 */
const RESERVE = new Script({
  keys: ["key"],
  args: { reservation: "text", ttlMs: "number" },
  lua: `
    local standing = redis.call('GET', key)
    if standing then return standing end
    redis.call('SET', key, reservation, 'PX', ttlMs)
    return reservation
  `,
});

const reservationSchema = z.object({ jobId: z.string(), digest: z.string() });

/** What a call asks. */
interface Asked extends RunOptions {
  model: ModelRef;
  fallbacks?: readonly ModelRef[];
  /** The models as they were asked for: how deployments are drawn changes with the settings, and is no part of the question. */
  named?: readonly ModelRef[];
  request: ChatRequest;
  /** The conversation's id. */
  conversation?: string;
}

interface ReservationOptions extends Asked {
  /** The caller's own. */
  key: string;
  /** Taken when nobody has the key yet. */
  jobId: string;
  /** Callers of other tenants have keys of their own. */
  tenant?: string | undefined;
  /** The job's delay, by which the key lives longer than 7 days. */
  delayMs?: number;
}

/** Returns the digest of what is asked: how urgent it is does not count. */
export function askedDigest(asked: Asked): string {
  const { request, conversation, named } = asked;
  const [model = asked.model, ...others] = named ?? [];
  const fallbacks = named ? others : asked.fallbacks;
  const run = { ...askedOf(asked), fallbacks, conversation };
  return requestDigest(model, { ...request, run });
}

/**
 * Returns the job id that stands under the caller's key: the given one, or that of the first call.
 * @throws InputError (`idempotency_conflict`) when the first call asked something else.
 */
export async function reserveJobId(store: Store, reservation: ReservationOptions): Promise<string> {
  return await reserveId(store, { ...reservation, digest: askedDigest(reservation) });
}

/**
 * Returns the id that stands under the caller's key: the given one, or that of the first request with it.
 * @throws InputError (`idempotency_conflict`) when the first one had another digest.
 */
export async function reserveId(
  store: Store,
  reservation: Pick<ReservationOptions, "key" | "jobId" | "tenant" | "delayMs"> & { digest: string },
): Promise<string> {
  const { key, jobId, digest, tenant = DEFAULT_TENANT, delayMs = 0 } = reservation;
  const keys = { key: store.keys.idempotency(key, tenant === DEFAULT_TENANT ? undefined : tenant) };
  const { sealing } = store;
  const kept = await sealing.markedDigest(digest);
  const args = { reservation: JSON.stringify({ jobId, digest: kept }), ttlMs: TTL_MS + delayMs };
  const standing = await RESERVE.run(store.redis, keys, args);
  const first = readStored(`the idempotency key of job ${jobId}`, () =>
    reservationSchema.parse(JSON.parse(String(standing))),
  );
  if (await sealing.isDigestOf(first.digest, digest)) return first.jobId;
  throw new InputError(
    `the idempotency key of job ${first.jobId} was given to another request`,
    "take a new key for a new request; a key lives for 7 days",
    "idempotency_conflict",
  );
}

/**
 * Returns the key under which a call of a tool stands. Such a key has a digest of what is asked: encrypted, its HMAC takes its
 * place, unless the key stands already from before.
 */
export async function storedKey(store: Store, key: string, tenant = DEFAULT_TENANT): Promise<string> {
  if (!store.sealing.isOn) return key;
  const standing = store.keys.idempotency(key, tenant === DEFAULT_TENANT ? undefined : tenant);
  return (await store.redis.exists(standing)) === 1 ? key : store.sealing.digest(key);
}
