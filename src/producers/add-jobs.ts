import type { Queue } from "bullmq";
import { sealJobData } from "../store/job-data.ts";
import type { CompletionJob } from "./completion-job.ts";
import type { ProducerQueues } from "./queues.ts";

/** Puts jobs of one owner, and of one batch if they are rows, into a queue: each at its place among those of other tenants. */
export async function addJobs(
  { shares, store }: ProducerQueues,
  queue: Queue,
  jobs: readonly CompletionJob[],
  batchId?: string,
): Promise<void> {
  const byUrgency = Map.groupBy(jobs, ({ share }) => share?.urgency);
  for (const [urgency, group] of byUrgency) {
    if (!urgency) continue;
    const priorities = await shares.take({
      ...{ queue: queue.name, urgency, tenant: group[0]?.data.tenant, batchId },
      tokens: () => group.map(({ share }) => share?.tokens() ?? 0),
    });
    for (const [n, { opts }] of group.entries()) opts.priority = priorities?.[n] ?? opts.priority ?? 0;
  }
  const added = await Promise.all(
    jobs.map(async ({ name, data, opts }) => {
      return { name, data: await sealJobData(store, opts.jobId, data), opts };
    }),
  );
  const [only] = added;
  if (only && added.length === 1) await queue.add(only.name, only.data, only.opts);
  else await queue.addBulk(added);
}
