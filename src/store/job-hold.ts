import { keepLock } from "./bullmq-sleep.ts";
import { FencedError } from "./job-journal.ts";
import type { Store } from "./store.ts";

/** A job that this process was given now, and the lock that says so. */
interface Hold {
  store: Store;
  queue: string;
  jobId: string;
  token: string;
  /** How long the lock lasts when it is not renewed, in milliseconds. */
  lockMs: number;
}

/**
 * Returns how to make sure, just before something is paid, that no other worker has had the job meanwhile. A process that stood still (a
 * stopped machine, a blocked event loop) learns too late that its lock ran out: what it waited for goes on before its timers do. So Redis
 * is asked once half a lock's time has passed since the last proof; before, nothing is.
 * The returned function throws a FencedError when another worker has, or had, the job.
 */
export function jobHold({ store, queue, jobId, token, lockMs }: Hold): () => Promise<void> {
  let provenAt = performance.now();
  return async () => {
    while (performance.now() - provenAt > lockMs / 2) {
      const askedAt = performance.now();
      if (!(await keepLock(store, queue, jobId, { token, lockMs })))
        throw new FencedError(`job ${jobId}: another worker had it while this one stood still`);
      provenAt = askedAt;
    }
  };
}
