import { z } from "zod";
import type { RunOptions } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { requestDigest } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

const TTL_MS = 7 * 86_400_000;

/** The first one under a key stays; who comes later learns who that is. */
const RESERVE = new RedisScript(`
  local standing = redis.call('GET', KEYS[1])
  if standing then return standing end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
`);

const reservationSchema = z.object({ jobId: z.string(), digest: z.string() });

export interface ReservationOptions extends RunOptions {
  /** The caller's own. */
  key: string;
  /** Taken when nobody has the key yet. */
  jobId: string;
  model: ModelRef;
  fallbacks?: readonly ModelRef[];
  request: ChatRequest;
  /** The conversation's id. */
  conversation?: string;
  /** The job's delay, by which the key lives longer than 7 days. */
  delayMs?: number;
}

/**
 * The job id that stands under the caller's key: the given one, or that of the first call.
 * @throws InputError (`idempotency_conflict`) when the first call asked something else.
 */
export async function reserveJobId(store: Store, reservation: ReservationOptions): Promise<string> {
  const { key, jobId, model, request, delayMs = 0 } = reservation;
  const { tools, maxToolIterations, endsWithTools, output, fallbacks, conversation } = reservation;
  // What is asked: how urgent it is does not count.
  const run = { tools, maxToolIterations, endsWithTools, output, fallbacks, conversation };
  const digest = requestDigest(model, { ...request, run });
  const value = JSON.stringify({ jobId, digest });
  const standing = await RESERVE.run(store.redis, [store.keys.idempotency(key)], [value, TTL_MS + delayMs]);
  const first = reservationSchema.parse(JSON.parse(String(standing)));
  if (first.digest === digest) return first.jobId;
  throw new InputError(
    `the idempotency key of job ${first.jobId} was given to another request`,
    "take a new key for a new request; a key lives for 7 days",
    "idempotency_conflict",
  );
}
