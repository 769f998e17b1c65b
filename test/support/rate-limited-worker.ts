import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { RateLimiter } from "../../src/limits/rate-limiter.ts";
import type { Budget } from "../../src/shared/limits-setting.ts";

/** What a worker process of the fleet does; printed result: `WorkerResult` as JSON. */
export interface WorkerOrder {
  redisSocket: string;
  keyPrefix: string;
  budget: Budget;
  providerUrl: string;
  slots: number;
  durationMs: number;
  /** Sizes are log-normal around this median. */
  medianTokens: number;
  /** Estimate = actual size × a factor drawn from this range. */
  estimateFactors: [number, number];
  /** Rests for this long, then sends for as long, and so on: in all processes at the same times. */
  restMs?: number;
  /** What this process's clock is off by: each for a second, in turn. */
  clockErrorsMs?: number[];
}

export interface WorkerResult {
  sent: number;
  rejected: number;
  waitsMs: number[];
}

const order = JSON.parse(process.argv[2]!) as WorkerOrder;
if (order.clockErrorsMs) shiftClock(order.clockErrorsMs);
const redis = new Redis({ path: order.redisSocket, maxRetriesPerRequest: null });
// As a worker process has it: the limiter's connections are the process's.
const subscriber = redis.duplicate();
const limiter = new RateLimiter({
  redis,
  subscriber,
  keyPrefix: order.keyPrefix,
  budgetOf: () => order.budget,
});
const agent = new Agent({ keepAlive: true });
const result: WorkerResult = { sent: 0, rejected: 0, waitsMs: [] };

const ending = new AbortController();
await Promise.all([
  delay(order.durationMs).then(() => ending.abort()),
  ...Array.from({ length: order.slots }, () => runSlot()),
]);
await limiter.close();
redis.disconnect();
subscriber.disconnect();
agent.destroy();
console.log(JSON.stringify(result));

async function runSlot(): Promise<void> {
  while (!ending.signal.aborted) {
    if (order.restMs) await rest(order.restMs);
    const tokens = size();
    const [low, high] = order.estimateFactors;
    const estimate = Math.ceil(tokens * (low + Math.random() * (high - low)));
    const reservation = await limiter
      .acquire("openai:model", { tokens: estimate, signal: ending.signal })
      .catch(() => undefined);
    if (!reservation) return;
    result.waitsMs.push(Math.round(reservation.waitedMs));
    const status = await call(tokens);
    result.sent++;
    if (status === 429) result.rejected++;
    reservation.settle(tokens);
  }
}

/** The wall clock alone: timers and `performance` go on as they do when a machine's clock is set. */
function shiftClock(errorsMs: number[]): void {
  const rightNow = Date.now;
  Date.now = () => rightNow() + errorsMs[Math.floor(performance.now() / 1000) % errorsMs.length]!;
}

async function rest(restMs: number): Promise<void> {
  const phaseMs = Date.now() % (2 * restMs);
  if (phaseMs < restMs) await delay(restMs - phaseMs);
}

function call(tokens: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { "x-tokens": String(tokens) };
    request(order.providerUrl, { method: "POST", agent, headers }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode));
    })
      .on("error", reject)
      .end();
  });
}

/** Box–Muller; sigma 0.6, cut at 5 times the median. */
function size(): number {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return Math.ceil(order.medianTokens * Math.min(5, Math.exp(0.6 * normal)));
}
