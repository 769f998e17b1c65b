import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { type RequestHandler, Router } from "express";
import { CLOSE_MS, within } from "../shared/within.ts";
import { Probe } from "../store/probe.ts";
import type { Store } from "../store/store.ts";
import { readWorkerCards } from "../store/worker-card.ts";

const REDIS_TIMEOUT_MS = 1000;
/** Workers that leave a probe for so long take no jobs. */
const MAX_PROBE_AGE_MS = 60_000;
/** A loop that is late by this much on average answers nobody in time. */
const MAX_LAG_MS = 1000;
const LAG_WINDOW_MS = 5000;

interface HealthOptions {
  store: Store;
  draining: AbortSignal;
}

/**
 * `/health/live`: the process answers. `/health/ready`: Redis answers, the event loop is in time, workers take jobs, and the server
 * does not drain; else 503, with what is wrong. Whether they do, a probe tells: a job that goes through a queue of its own. That there
 * is no worker is told, and is no reason to refuse: jobs wait for them.
 */
export function healthRoutes({ store, draining }: HealthOptions): { router: Router; close(): void } {
  const loop = monitorEventLoopDelay({ resolution: 20 });
  loop.enable();
  let lagMs = 0;
  const timer = setInterval(() => {
    lagMs = Math.max(0, loop.mean / 1e6 - 20);
    loop.reset();
  }, LAG_WINDOW_MS).unref();
  const probe = new Probe(store);
  const live: RequestHandler = (_request, response) => void response.json({ status: "ok" });
  const ready: RequestHandler = async (_request, response) => {
    const [cards, probeAgeMs] = (await answerInTime(
      Promise.all([readWorkerCards(store), probe.ageMs()]),
    )) ?? [null, null];
    // Those of version 0.1 take no probes.
    const takeProbes = cards?.some((card) => card.process !== undefined);
    const areStuck = takeProbes && (probeAgeMs ?? 0) > MAX_PROBE_AGE_MS;
    const isReady = cards !== null && !areStuck && lagMs < MAX_LAG_MS && !draining.aborted;
    response.status(isReady ? 200 : 503);
    if (!isReady) response.set("retry-after", "1");
    response.json({
      status: draining.aborted ? "draining" : isReady ? "ok" : "unavailable",
      redis: cards === null ? "does not answer" : "ok",
      workers: cards?.length ?? null,
      probeAgeMs,
      eventLoopLagMs: Math.round(lagMs),
    });
  };
  return {
    router: Router().get("/health/live", live).get("/health/ready", ready),
    close: () => {
      clearInterval(timer);
      loop.disable();
      void within(CLOSE_MS, probe.close());
    },
  };
}

/** Returns what Redis answers; undefined when it does not within a second. */
async function answerInTime<T>(answer: Promise<T>): Promise<T | undefined> {
  const none = answer.catch(() => undefined);
  return Promise.race([none, delay(REDIS_TIMEOUT_MS, undefined, { ref: false })]);
}
