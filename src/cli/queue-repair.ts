import { ProducerQueues } from "../producers/queues.ts";
import { hasRuns } from "../shared/catalog.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { forgetQueue, malformedQueueNames, registeredQueues } from "../store/queue-registry.ts";
import { findStranded, putBackStranded } from "../store/stranded-jobs.ts";
import { findUnreadable, removeUnreadable, setAside, unreadableJobs } from "../store/unreadable-jobs.ts";
import { unreadableWorkerCards, withdrawWorker } from "../store/worker-card.ts";
import { addJobAgain } from "../workflows/start-run.ts";

/** Something in Redis that cannot be read, or that nobody would find, and what repairs it. */
export interface Damage {
  what: string;
  name: string;
  problem: string;
  /** What becomes of it. */
  remedy: "removed" | "put back";
  repair: () => Promise<unknown>;
}

interface Access {
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
}

/**
 * Returns what a namespace has that cannot be read: jobs, those included that no worker has met yet, names of queues, cards of
 * workers; and the jobs that are in no state.
 */
export async function findDamage(access: Access): Promise<Damage[]> {
  const { store } = access;
  const queues = await registeredQueues(store);
  const [jobs, names, cards] = await Promise.all([
    unreadableJobs(store),
    malformedQueueNames(store),
    unreadableWorkerCards(store),
  ]);
  const waiting = (await Promise.all(queues.map((queue) => damagedJobs(access, queue)))).flat();
  return [
    ...jobs.map(({ queue, jobId, at, problem, bytes }) => ({
      ...{ what: "job", name: `${jobId} of ${queue}`, remedy: "removed" as const },
      problem: `${problem}; ${bytes} bytes, set aside ${new Date(at).toISOString()}`,
      repair: () => removeUnreadable(store, { queue, jobId }),
    })),
    ...waiting,
    ...(await strandedJobs(access, queues)),
    ...names.map((name) => ({
      ...{ what: "queue name", name: JSON.stringify(name), remedy: "removed" as const },
      problem: "no queue can have this name",
      repair: () => forgetQueue(store, name),
    })),
    ...cards.map((id) => ({
      ...{ what: "worker card", name: id, remedy: "removed" as const },
      problem: "it is not the JSON of a card",
      repair: () => withdrawWorker(store, id),
    })),
  ];
}

async function damagedJobs(access: Access, queue: string): Promise<Damage[]> {
  return (await findUnreadable(access.store, queue)).map(({ jobId, problem }) => ({
    ...{ what: "job", name: `${jobId} of ${queue}`, remedy: "removed" as const },
    problem: `${problem}; no worker has met it yet`,
    repair: () => removeJob(access, queue, jobId),
  }));
}

async function strandedJobs(access: Access, queues: readonly string[]): Promise<Damage[]> {
  const { store } = access;
  const found = queues.length === 0 ? [] : await findStranded(store, queues);
  return found.map(({ queue, jobId, isDamaged }) => ({
    what: "job",
    name: `${jobId} of ${queue}`,
    problem: `${isDamaged ? "its key is not a hash, and " : ""}it is in no state: no worker would find it`,
    remedy: isDamaged ? ("removed" as const) : ("put back" as const),
    repair: () => (isDamaged ? removeJob(access, queue, jobId) : putBackStranded(store, { queue, jobId })),
  }));
}

/** A run's record and journal have all that its job had: it gets another one. */
async function removeJob(access: Access, queue: string, jobId: string): Promise<void> {
  const { store } = access;
  await setAside(store, queue, [jobId]);
  await removeUnreadable(store, { queue, jobId });
  if (!hasRuns(queue)) return;
  const queues = new ProducerQueues(store);
  try {
    await addJobAgain({ ...access, queues }, jobId);
  } finally {
    await queues.close();
  }
}
