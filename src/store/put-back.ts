import { DelayedError, type Job } from "bullmq";

/** The longest that a job waits that this worker cannot go on with, and perhaps another one can. */
export const PUT_BACK_MS = 5_000;
const LEAST_PUT_BACK_MS = 1_000;

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
  { delayMs, reason, putBacks, limited, waiting, unfit, isBarred }: PutBack,
): Promise<never> {
  // Another worker holds it already: BullMQ is told that it moved, and nothing is touched.
  if (signal.reason === "lock lost") throw new DelayedError();
  const { failed, lost, suspendedAt, slept, fault } = Object(job.progress) as Record<string, unknown>;
  await job.updateProgress({
    waitsFor: reason,
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
  // A delay of 0 would leave the job to be promoted by a worker's next look at the delayed set: 1 ms is the same.
  await job.moveToDelayed(Date.now() + Math.max(delayMs, 1), token);
  throw new DelayedError();
}
