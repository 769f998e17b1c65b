import Bottleneck from "bottleneck";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { RateLimiter } from "../../src/limits/rate-limiter.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { drawTokens, meanTokens } from "./load.ts";
import type { GateName, SenderOrder } from "./sender-order.ts";

export interface Reply {
  status: number;
  retryAfterMs: number;
}

type Call = () => Promise<Reply>;

/** What lets requests through to the provider. */
export interface Gate {
  send(size: { estimate: number; tokens: number }, call: Call): Promise<Reply>;
  /** Before the same request is sent again after a 429. */
  backoffMs(attempt: number, retryAfterMs: number): number;
  /** In place of `send`, where the gate calls the sender. */
  work?(send: (tokens: number) => Promise<Reply>): Promise<void>;
}

const GATES: Record<GateName, (order: SenderOrder) => Gate | Promise<Gate>> = {
  gluellm,
  bottleneck,
  bullmq,
  retryAfter,
  fullJitter,
};

export async function openGate(order: SenderOrder): Promise<Gate> {
  return GATES[order.gate](order);
}

/** What the provider says, and up to half a second so that callers do not come back together. */
const politely = (_attempt: number, retryAfterMs: number) => retryAfterMs + Math.random() * 500;

const KEY = "openai:model";

/** On a 429 it does what the workers do: pause, with empty buckets. */
function gluellm({ name, redisSocket, limits, quantumMs }: SenderOrder): Gate {
  const redis = new Redis({ path: redisSocket, maxRetriesPerRequest: null });
  const keyPrefix = redisKeys(name).prefix;
  const limiter = new RateLimiter({ redis, keyPrefix, quantumMs, budgetOf: () => limits });
  return {
    async send({ estimate, tokens }, call) {
      const reservation = await limiter.acquire(KEY, { tokens: estimate });
      const reply = await call();
      reservation.settle(reply.status === 429 ? 0 : tokens);
      if (reply.status === 429) {
        limiter.pause(KEY, reply.retryAfterMs);
        await limiter.drain(KEY, reply.retryAfterMs);
      }
      return reply;
    },
    backoffMs: politely,
  };
}

/** Thrown into Bottleneck, which sees a failed job. */
class RefusedError extends Error {
  readonly retryAfterMs: number;

  constructor(retryAfterMs: number) {
    super("429");
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Bottleneck as its README shows clustering, reservoirs and retries (which take nothing from a reservoir); the call is
 * the job. One limiter for requests and one for tokens, since `chain()` would give both the same weight.
 */
async function bottleneck({ name, redisSocket, limits }: SenderOrder): Promise<Gate> {
  const limiterOf = (scope: string, perMinute: number) =>
    new Bottleneck({
      id: `${name}-${scope}`,
      datastore: "ioredis",
      clearDatastore: false,
      // The README leaves this out, which works in CommonJS only.
      Redis,
      clientOptions: { path: redisSocket },
      reservoir: perMinute,
      reservoirRefreshAmount: perMinute,
      reservoirRefreshInterval: 60_000,
    });
  const requests = limiterOf("requests", limits.rpm);
  const tokens = limiterOf("tokens", limits.tpm);
  tokens.on("failed", (error: RefusedError) => politely(1, error.retryAfterMs));
  await Promise.all([requests.ready(), tokens.ready()]);
  const callOrFail = async (call: Call) => {
    const reply = await call();
    if (reply.status === 429) throw new RefusedError(reply.retryAfterMs);
    return reply;
  };
  return {
    send: ({ estimate }, call) =>
      requests.schedule(() => tokens.schedule({ weight: estimate }, () => callOrFail(call))),
    backoffMs: politely,
  };
}

/** BullMQ's limiter counts jobs per second: as many as fit both limits on average. A 429 pauses the queue as its docs show. */
async function bullmq({ name, redisSocket, limits, slots, sizes, backlog }: SenderOrder): Promise<Gate> {
  const connection = new Redis({ path: redisSocket, maxRetriesPerRequest: null });
  const queue = new Queue(name, { connection });
  const jobs = Array.from({ length: backlog }, () => ({ name: "call", data: { tokens: drawTokens(sizes) } }));
  for (let i = 0; i < jobs.length; i += 500) await queue.addBulk(jobs.slice(i, i + 500));
  const max = Math.floor(Math.min(limits.rpm, limits.tpm / meanTokens(sizes)) / 60);
  return {
    send: () => Promise.reject(new Error("BullMQ calls the sender")),
    backoffMs: politely,
    async work(send) {
      const run = async (job: { data: { tokens: number } }) => {
        const { status, retryAfterMs } = await send(job.data.tokens);
        if (status !== 429) return;
        await queue.rateLimit(Math.ceil(retryAfterMs));
        throw Worker.RateLimitError();
      };
      const limiter = { max, duration: 1000 };
      const worker = new Worker(name, run, { connection, concurrency: slots, limiter });
      await worker.waitUntilReady();
    },
  };
}

function retryAfter(): Gate {
  return { send: (_size, call) => call(), backoffMs: politely };
}

/** "Exponential backoff and jitter", AWS Architecture Blog 2015: random(0, min(8 s, 0.5 s × 2ⁿ)). */
function fullJitter(): Gate {
  return {
    send: (_size, call) => call(),
    backoffMs: (attempt) => Math.random() * Math.min(8000, 500 * 2 ** attempt),
  };
}
