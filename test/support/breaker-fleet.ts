import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { BreakerTransition } from "../../src/limits/breaker-channel.ts";
import { CircuitBreaker, type CircuitBreakerOptions } from "../../src/limits/circuit-breaker.ts";
import { readBreakerState } from "../../src/store/breaker.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "./redis.ts";
import { waitFor } from "./wait-for.ts";

export const KEY = "openai:model";
export const SETTINGS = { failureRate: 0.5, minCalls: 4, windowMs: 5000, cooldownMs: 150, probeMs: 5000 };

/** Three breakers that stand for the processes of a fleet: each has connections of its own. */
export async function openFleet(
  changes: CircuitBreakerOptions["settings"] = {},
  options: Partial<CircuitBreakerOptions> = {},
) {
  const keys = redisKeys(testNamespace());
  const redis = testRedis();
  const logs: Record<string, unknown>[] = [];
  const logger = pino({ level: "info" }, { write: (line: string) => logs.push(JSON.parse(line)) });
  const start = async ({ isDeaf = false } = {}) => {
    const [own, subscriber] = [testRedis(), testRedis()];
    const settings = { ...SETTINGS, ...changes };
    const breaker = new CircuitBreaker({ redis: own, keyPrefix: keys.prefix, settings, logger, ...options });
    subscriber.on("message", (_channel, message: string) => void breaker.onMessage(message));
    await Promise.all([isDeaf || subscriber.subscribe(keys.topic("breaker")), own.ping()]);
    onTestFinished(async () => {
      await breaker[Symbol.asyncDispose]();
      subscriber.disconnect();
      own.disconnect();
    });
    return breaker;
  };
  onTestFinished(() => redis.disconnect());
  const breakers = await Promise.all([start(), start(), start()]);
  const [first, second, third] = breakers;
  const state = () => readBreakerState(plainStore(redis, keys), KEY);
  return { breakers, first, second, third, keys, redis, logs, start, state };
}

export async function fail(breaker: CircuitBreaker, times: number): Promise<void> {
  for (let call = 0; call < times; call++) await breaker.failed(KEY, await admitted(breaker));
}

export async function admitted(breaker: CircuitBreaker) {
  const admission = await breaker.admit(KEY);
  if (!admission.isAllowed) throw new Error("not admitted");
  return admission;
}

/** Asks as a waiting job does, until it has the probe. */
export function probe(breaker: CircuitBreaker) {
  return waitFor("a probe", async () => {
    const admission = await breaker.admit(KEY);
    return admission.isAllowed && admission.isProbe ? admission : undefined;
  });
}

export async function stops(breaker: CircuitBreaker): Promise<void> {
  await waitFor("calls stop", async () => !(await breaker.admit(KEY)).isAllowed);
}

export async function goesOn(breaker: CircuitBreaker): Promise<void> {
  await waitFor("calls go on", async () => (await breaker.admit(KEY)).isAllowed);
}

export function transitions(): BreakerTransition[] {
  const seen: BreakerTransition[] = [];
  const listen = (message: unknown) => seen.push(message as BreakerTransition);
  subscribe("gluellm:breaker", listen);
  onTestFinished(() => void unsubscribe("gluellm:breaker", listen));
  return seen;
}
