import type { Job } from "bullmq";
import { activityOfQueue, hasRuns, isOfEveryWorker } from "../shared/catalog.ts";
import { fieldsOf } from "../shared/json.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import { isOwnedBy, tenantName } from "../shared/tenant.ts";
import { openJobData } from "../store/job-data.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import { withQueue } from "../store/with-queue.ts";

/** A job as lists show it; times are epoch milliseconds. */
export interface ListedJob {
  id: string;
  queue: string;
  /** `entry:model`, an activity's name, or the queue's name. */
  key: string;
  state: "waiting" | "delayed" | "active" | "succeeded" | "failed";
  /** How the prompt begins: content. */
  preview: string | undefined;
  waitsFor: string | undefined;
  /** Why it failed. */
  reason: string | undefined;
  batch: string | undefined;
  customId: string | undefined;
  conversation: string | undefined;
  run: string | undefined;
  step: string | undefined;
  addedAt: number;
  startedAt: number | undefined;
  endedAt: number | undefined;
  attempts: number;
}

export interface JobFilter {
  tenant: string;
  /** Part of an id of the job, its batch, conversation or run, of a `custom_id`, or of the preview. */
  text?: string | undefined;
  state?: ListedJob["state"] | undefined;
  /** A queue's name, or the `entry:model` that it is of. */
  queue?: string | undefined;
  /** Only jobs of conversations. */
  conversations?: boolean | undefined;
  limit: number;
  /** Whether previews may be searched and shown. */
  withContent: boolean;
}

/** BullMQ's words for each of ours. */
const BULL_STATES = {
  active: ["active"],
  waiting: ["waiting", "prioritized"],
  delayed: ["delayed"],
  failed: ["failed"],
  succeeded: ["completed"],
} as const;
const STATES = Object.keys(BULL_STATES) as ListedJob["state"][];
/** Jobs that a search looks at, so that it takes no longer with a million of them. */
const MAX_LOOKS = 3000;
const MIN_LOOKS = 20;

/**
 * Returns the latest jobs that fit, the newest first. Of each queue and state the same number of the latest are looked at; `isPart`
 * when there are more.
 */
export async function searchJobs(
  store: Store,
  { state, queue, limit, ...filter }: JobFilter,
): Promise<{ jobs: ListedJob[]; looked: number; isPart: boolean }> {
  const names = (await registeredQueues(store)).filter((name) => isShown(name, queue));
  const states = state ? [state] : STATES;
  const looks = Math.max(MIN_LOOKS, Math.floor(MAX_LOOKS / Math.max(1, names.length * states.length)));
  const found: ListedJob[] = [];
  let looked = 0;
  let isPart = false;
  for (const name of names) {
    await withQueue(store, name, async (opened) => {
      for (const one of states) {
        // A job that cannot be read hides no other queue.
        const jobs = await opened.getJobs([...BULL_STATES[one]], 0, looks - 1).catch(() => []);
        looked += jobs.length;
        isPart ||= jobs.length >= looks;
        for (const job of jobs) {
          if (job && filter.withContent)
            job.data = await openJobData(store, job.id ?? "", job.data).catch(() => job.data);
          const listed = job && listedJob(job, name, one, filter);
          if (!listed || (filter.conversations && listed.conversation === undefined)) continue;
          if (fits(listed, filter.text)) found.push(listed);
        }
      }
    });
  }
  found.sort((a, b) => b.addedAt - a.addedAt);
  return { jobs: found.slice(0, limit), looked, isPart: isPart || found.length > limit };
}

function isShown(name: string, wanted: string | undefined): boolean {
  if (hasRuns(name) || isOfEveryWorker(name)) return false;
  return wanted === undefined || name === wanted || keyOfQueue(name) === wanted;
}

/** Returns what people call a queue. */
export function keyOfQueue(name: string): string {
  return parseCompletionQueueName(name)?.key ?? activityOfQueue(name) ?? name;
}

function listedJob(
  job: Job,
  queue: string,
  state: ListedJob["state"],
  { tenant, withContent }: Pick<JobFilter, "tenant" | "withContent">,
): ListedJob | undefined {
  const data = fieldsOf(job.data) as {
    tenant?: string;
    preview?: string;
    batch?: { id?: string; customId?: string };
    conversation?: { id?: string };
    workflow?: { runId?: string; step?: string };
  };
  if (!isOwnedBy(tenant, data)) return undefined;
  const { waitsFor } = Object(job.progress) as { waitsFor?: string };
  const conversation = data.conversation?.id;
  const hasEnded = job.finishedOn !== undefined;
  return {
    id: job.id ?? "",
    queue,
    key: keyOfQueue(queue),
    state,
    preview: withContent ? data.preview : undefined,
    waitsFor: hasEnded || state === "active" ? undefined : waitsFor,
    reason: state === "failed" ? job.failedReason : undefined,
    batch: data.batch?.id,
    customId: data.batch?.customId,
    conversation: conversation?.slice(tenantName(tenant, "").length),
    run: data.workflow?.runId,
    step: data.workflow?.step,
    addedAt: job.timestamp,
    startedAt: job.processedOn,
    endedAt: job.finishedOn,
    attempts: job.attemptsMade,
  };
}

function fits(job: ListedJob, text: string | undefined): boolean {
  if (!text) return true;
  const { id, batch, customId, conversation, run, step, preview } = job;
  const wanted = text.toLowerCase();
  return [id, batch, customId, conversation, run, step, preview].some((part) =>
    part?.toLowerCase().includes(wanted),
  );
}
