import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { type RequestHandler, Router } from "express";
import type { Store } from "../store/store.ts";
import { readWorkerCards } from "../store/worker-card.ts";

const REDIS_TIMEOUT_MS = 1000;
/** A loop that is late by this much on average answers nobody in time. */
const MAX_LAG_MS = 1000;
const LAG_WINDOW_MS = 5000;

interface HealthOptions {
  store: Store;
  draining: AbortSignal;
}

/**
 * `/health/live`: the process answers. `/health/ready`: Redis answers, the event loop is in time, and the server does not
 * drain; else 503, with what is wrong. The number of worker processes is told, and is no reason to refuse: jobs wait for them.
 */
export function healthRoutes({ store, draining }: HealthOptions): { router: Router; close(): void } {
  const loop = monitorEventLoopDelay({ resolution: 20 });
  loop.enable();
  let lagMs = 0;
  const timer = setInterval(() => {
    lagMs = Math.max(0, loop.mean / 1e6 - 20);
    loop.reset();
  }, LAG_WINDOW_MS).unref();
  const live: RequestHandler = (_request, response) => void response.json({ status: "ok" });
  const ready: RequestHandler = async (_request, response) => {
    const workers = await answerInTime(readWorkerCards(store).then((cards) => cards.length));
    const isReady = workers !== undefined && lagMs < MAX_LAG_MS && !draining.aborted;
    response.status(isReady ? 200 : 503);
    if (!isReady) response.set("retry-after", "1");
    response.json({
      status: draining.aborted ? "draining" : isReady ? "ok" : "unavailable",
      redis: workers === undefined ? "does not answer" : "ok",
      workers: workers ?? null,
      eventLoopLagMs: Math.round(lagMs),
    });
  };
  return {
    router: Router().get("/health/live", live).get("/health/ready", ready),
    close: () => {
      clearInterval(timer);
      loop.disable();
    },
  };
}

/** Returns what Redis answers; undefined when it does not within a second. */
async function answerInTime<T>(answer: Promise<T>): Promise<T | undefined> {
  const none = answer.catch(() => undefined);
  return Promise.race([none, delay(REDIS_TIMEOUT_MS, undefined, { ref: false })]);
}
