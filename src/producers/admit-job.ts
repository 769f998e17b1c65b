import type { Queue } from "bullmq";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import type { Store } from "../store/store.ts";
import type { KnownTenants } from "../store/tenant.ts";
import { closeTenantJob, openTenantJob } from "../store/tenant-queue.ts";
import { addJobs } from "./add-jobs.ts";
import type { CompletionJob } from "./completion-job.ts";
import type { ProducerQueues } from "./queues.ts";

/**
 * Adds a job unless its tenant has too many that wait or run; one that a tool waits for is part of its own job. Jobs of `default` are
 * counted only where they have a limit.
 * @throws GlueError `tenant_queue_full`
 */
export async function admitJob(
  { store, tenants, queues }: { store: Store; tenants: KnownTenants; queues: ProducerQueues },
  queue: Queue,
  job: CompletionJob,
): Promise<void> {
  const { tenant = DEFAULT_TENANT, deadlineAt, nesting } = job.data;
  const { jobId } = job.opts;
  const { maxQueuedJobs: max } = await tenants.fresh(tenant);
  const isCounted = max !== undefined || tenant !== DEFAULT_TENANT;
  if (!isCounted || nesting !== undefined) return addJobs(queues, queue, [job]);
  await openTenantJob(store, tenant, { jobId, deadlineAt, max: max ?? Number.MAX_SAFE_INTEGER });
  try {
    await addJobs(queues, queue, [job]);
  } catch (error) {
    await closeTenantJob(store, tenant, jobId).catch(() => {});
    throw error;
  }
}
