import { forgetQueue, malformedQueueNames } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import { removeUnreadable, unreadableJobs } from "../store/unreadable-jobs.ts";
import { unreadableWorkerCards, withdrawWorker } from "../store/worker-card.ts";

/** Something in Redis that cannot be read, and how to remove it. */
export interface Damage {
  what: string;
  name: string;
  problem: string;
  remove: () => Promise<unknown>;
}

/** Returns what a namespace has that cannot be read: jobs that workers have set aside, names of queues, cards of workers. */
export async function findDamage(store: Store): Promise<Damage[]> {
  const [jobs, names, cards] = await Promise.all([
    unreadableJobs(store),
    malformedQueueNames(store),
    unreadableWorkerCards(store),
  ]);
  return [
    ...jobs.map(({ queue, jobId, at, problem, bytes }) => ({
      what: "job",
      name: `${jobId} of ${queue}`,
      problem: `${problem}; ${bytes} bytes, set aside ${new Date(at).toISOString()}`,
      remove: () => removeUnreadable(store, { queue, jobId }),
    })),
    ...names.map((name) => ({
      what: "queue name",
      name: JSON.stringify(name),
      problem: "no queue can have this name",
      remove: () => forgetQueue(store, name),
    })),
    ...cards.map((id) => ({
      what: "worker card",
      name: id,
      problem: "it is not the JSON of a card",
      remove: () => withdrawWorker(store, id),
    })),
  ];
}
