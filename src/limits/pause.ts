import { channel } from "node:diagnostics_channel";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName, parseCompletionQueueName } from "../shared/queue-name.ts";
import { PausedError } from "../shared/unsent-errors.ts";
import { pauseQueues, queuePausedMs } from "../store/bullmq-internals.ts";
import {
  beginPause,
  LONG_PAUSE_MS,
  liftPause,
  PAUSE_TEST_MS,
  pauseIdsOf,
  readLongPause,
  takeTest,
} from "../store/long-pause.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import { notify } from "../store/topics.ts";
import type { FleetBudgets } from "./fleet-budgets.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** Who waits when a provider asks for a pause: the job alone, its queue, or every queue that shares its budget. */
export type SnoozeScope = "job" | "queue" | "budget";

interface PauseContext {
  store: Store;
  budgets: FleetBudgets;
  limiter: RateLimiter;
}

const pauseChannel = channel("gluellm:pause");

/** What a provider asked for. */
export interface PauseAsked {
  scope: SnoozeScope;
  delayMs: number;
  /** For people. */
  reason: string;
}

/**
 * Pauses what the provider of `model` asked for: its queue, or every queue of its budget; nothing for the job alone. A
 * long pause is kept, and begins with the time until its first test.
 */
export async function pauseModel(
  context: PauseContext,
  model: ModelRef,
  { scope, delayMs, reason }: PauseAsked,
): Promise<void> {
  if (scope === "job") return;
  const { store, budgets } = context;
  const isLong = delayMs > LONG_PAUSE_MS;
  const id = scope === "budget" ? budgets.idOf(model.key) : model.key;
  if (isLong) await beginPause(store, id, delayMs, reason);
  const ms = isLong ? PAUSE_TEST_MS : delayMs;
  const queue = completionQueueName(model);
  if (scope === "queue") await pauseQueues(store, [queue], ms);
  else await pauseBudget(context, queue, model.key, ms);
}

/** Returns the ids under which a long pause of the model may be kept. */
export function pauseIds({ budgets }: Pick<PauseContext, "budgets">, { key }: ModelRef): string[] {
  return pauseIdsOf(budgets.idOf(key), key);
}

/**
 * Asks whether a call of the model may be made under a long pause. Returns the pause that it is the test of, if so.
 * @throws PausedError when it may not
 */
export async function testLongPause(context: PauseContext, model: ModelRef): Promise<string | undefined> {
  const { store } = context;
  for (const id of pauseIds(context, model)) {
    const turn = await takeTest(store, id);
    if (turn.kind === "test") return id;
    const pause = turn.kind === "wait" && (await readLongPause(store, [id]));
    if (pause) throw new PausedError(model.key, pause, turn.waitMs);
  }
  return undefined;
}

/** Returns the error of a long pause of the model, for a job that ends by it; undefined when there is none now. */
export async function pausedError(context: PauseContext, model: ModelRef): Promise<PausedError | undefined> {
  const pause = await readLongPause(context.store, pauseIds(context, model));
  return pause && new PausedError(model.key, pause, 0);
}

/** Ends a long pause whose test was answered. */
export async function liftTestedPause(context: PauseContext, model: ModelRef, id: string): Promise<void> {
  await liftPause(context.store, id, await sharingQueues(context, completionQueueName(model), id, model.key));
}

/** Returns in how many milliseconds the queue of `model` goes on, 0 when it is not paused: for jobs of other queues. */
export function pausedMs({ store }: Pick<PauseContext, "store">, model: ModelRef): Promise<number> {
  return queuePausedMs(store, completionQueueName(model));
}

/**
 * Pauses a budget, as its provider asked: every queue of it waits, in all processes, and so do the jobs that already
 * wait for the budget. At the end of it the budget is empty, since the provider's is. Diagnostics channel
 * `gluellm:pause`: `{budget, ms}`.
 */
async function pauseBudget(context: PauseContext, queue: string, key: string, ms: number): Promise<void> {
  const { store, budgets, limiter } = context;
  const id = budgets.idOf(key);
  await pauseQueues(store, await sharingQueues(context, queue, id, key), ms);
  await notify(store, "pause", `${Math.ceil(ms)}:${id}`);
  await limiter.drain(id, ms);
  pauseChannel.publish({ budget: id, ms });
}

/** A model that only jobs of several models call has no registered queue. */
async function sharingQueues(
  context: PauseContext,
  queue: string,
  id: string,
  key: string,
): Promise<string[]> {
  return id === key ? [queue] : [...new Set([queue, ...(await queuesOf(context, id))])];
}

async function queuesOf({ store, budgets }: PauseContext, id: string): Promise<string[]> {
  const names = await registeredQueues(store);
  return names.filter((name) => {
    const ref = parseCompletionQueueName(name);
    return ref && budgets.idOf(ref.key) === id;
  });
}
