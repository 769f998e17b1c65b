import { DelayedError, type Job } from "bullmq";
import { clockOf } from "./redis-clock.ts";
import type { Store } from "./store.ts";

/** The longest that a job waits that this worker cannot go on with, and perhaps another one can. */
export const PUT_BACK_MS = 5_000;
const LEAST_PUT_BACK_MS = 1_000;

/**
 * BullMQ judges a job's delay by the clocks of who put it back and who takes it. Two that are 5 s off, of which nobody is warned, would let
 * all attempts pass within the shortest outage. What comes earlier by more was called by an operator.
 */
const [TOO_EARLY_MS, MAX_EARLY_MS] = [100, 10_000];

/** A job that a worker has: BullMQ's, its lock's value, and a signal that aborts with "lock lost" when another one has it. */
interface ActiveJob {
  job: Job;
  token: string;
  signal: AbortSignal;
}

/**
 * Returns how long such a job waits, in milliseconds, drawn anew each time. BullMQ's idle workers look by themselves every 5 s, and judge by
 * their own clocks: were it always the same, one that cannot take the job would be the first each time where its clock is a little ahead.
 */
export function putBackMs(): number {
  return LEAST_PUT_BACK_MS + Math.random() * (PUT_BACK_MS - LEAST_PUT_BACK_MS);
}

/** What is written down of a job that was put back. */
interface PutBack {
  delayMs: number;
  /** Shown by `gluellm queues` and the dashboard. */
  reason: string;
  /** Where it waits for a moment and not for another worker: `againAfter` of its delay. */
  againAt?: number | undefined;
  /** How often in a row, where that counts. */
  putBacks?: number;
  /** What its worker wants to know of it the next time. */
  limited?: object;
  /** Since when it waits, and for what, where there are traces. */
  waiting?: object | undefined;
  /** The ids of workers whose code does not fit it. */
  unfit?: readonly string[];
  /** The worker lacks what it needs: none may ever take it. */
  isBarred?: boolean;
}

/** The text by which `isBarred` shows in a job's progress (JSON). */
export const BARRED = '"isBarred":true';

/**
 * Returns a job to its queue without using an attempt.
 * @throws DelayedError, always: so BullMQ learns that the job moved
 */
export async function putBack(
  { job, token, signal }: ActiveJob,
  { delayMs, reason, againAt, putBacks, limited, waiting, unfit, isBarred }: PutBack,
): Promise<never> {
  // Another worker holds it already: BullMQ is told that it moved, and nothing is touched.
  if (signal.reason === "lock lost") throw new DelayedError();
  const { failed, lost, suspendedAt, slept, fault } = Object(job.progress) as Record<string, unknown>;
  await job.updateProgress({
    waitsFor: reason,
    againAt,
    putBacks,
    failed,
    lost,
    suspendedAt,
    slept,
    fault,
    limited,
    waiting,
    unfit,
    isBarred,
  });
  return delay({ job, token }, delayMs);
}

/** Returns the moment so many milliseconds from now, by the clock of Redis: no worker takes a job before it that was put back until then. */
export function againAfter(store: Store, delayMs: number): number {
  return clockOf(store).now() + delayMs;
}

/** Notes when the job's next attempt may begin. */
export async function noteAgainAt(job: Job, againAt: number): Promise<void> {
  await job.updateProgress({ ...Object(job.progress), againAt });
}

/** Returns a job that a worker's clock lets begin too early. @throws DelayedError then */
export async function waitOut(active: Pick<ActiveJob, "job" | "token">, store: Store): Promise<void> {
  const { againAt } = Object(active.job.progress) as { againAt?: unknown };
  if (typeof againAt !== "number") return;
  const earlyMs = againAt - clockOf(store).now();
  if (earlyMs > TOO_EARLY_MS && earlyMs <= MAX_EARLY_MS) await delay(active, earlyMs);
}

async function delay({ job, token }: Pick<ActiveJob, "job" | "token">, delayMs: number): Promise<never> {
  // A delay of 0 would leave the job to be promoted by a worker's next look at the delayed set: 1 ms is the same.
  await job.moveToDelayed(Date.now() + Math.max(delayMs, 1), token);
  throw new DelayedError();
}
