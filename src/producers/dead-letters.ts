import type { Queue } from "bullmq";
import { type CompletionPayload, completionPayloadSchema, isOfModel } from "../shared/catalog.ts";
import { modelKeyOf, paidUsd } from "../shared/records.ts";
import { DEFAULT_TENANT, isOwnedBy } from "../shared/tenant.ts";
import { isBlobRef, releaseBlob } from "../store/blobs.ts";
import { jobKey, partsOf } from "../store/bullmq-internals.ts";
import { openJobText } from "../store/job-data.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import { repliesOf } from "../store/redis.ts";
import type { Store } from "../store/store.ts";
import { openRecord } from "../store/stored-record.ts";

/*
 * Single calls that failed for good and are still in their queues. Rows of batches and steps of runs are not among them: their batch
 * or run is what is tried again. What somebody cancelled has not failed.
 */

export interface DeadLetter {
  kind: "job" | "run" | "batch";
  id: string;
  tenant: string;
  /** `entry:model` of a job; the workflow of a run; the id of a batch. */
  subject: string;
  /** That the job is in. */
  queue: string | undefined;
  code: string;
  message: string;
  /** Epoch milliseconds. */
  failedAt: number;
  attempts: number;
  /** What was paid for it, in USD; null: nobody knows. */
  costUsd: number | null;
  /** Of a batch: how many rows would be sent again. */
  rows?: number;
  /** Of a batch that a program has run: the command that sends them. */
  hint?: string;
}

export interface LetterFilter {
  id?: string | undefined;
  code?: string | undefined;
  /** `entry:model`. */
  model?: string | undefined;
  queue?: string | undefined;
  workflow?: string | undefined;
  tenant?: string | undefined;
  /** Failed at or after this time, in epoch milliseconds. */
  since?: number | undefined;
}

/** Read in one go. */
const CHUNK = 500;
const CANCELLED = "cancelled";
const OF_BATCH_OR_RUN = /^batch_|\.[0-9a-f]{16}$/;

/** Returns the failed jobs that fit, the latest first. */
export async function findFailedJobs(store: Store, filter: LetterFilter): Promise<DeadLetter[]> {
  const queues = (await registeredQueues(store)).filter(
    (name) => isOfModel(name) && (filter.queue === undefined || filter.queue === name),
  );
  const found: DeadLetter[] = [];
  for (const queue of queues) {
    const { failed } = partsOf(store, queue);
    for (let from = 0; ; from += CHUNK) {
      const scored = await store.redis.zrevrangebyscore(
        failed,
        "+inf",
        filter.since ?? "-inf",
        ...(["WITHSCORES", "LIMIT", from, CHUNK] as const),
      );
      const ids = scored.filter((_, i) => i % 2 === 0);
      const own = ids.flatMap((id, i) =>
        OF_BATCH_OR_RUN.test(id) ? [] : [{ id, failedAt: Number(scored[2 * i + 1]) }],
      );
      const letters = await lettersOf(store, queue, own);
      found.push(...letters.filter((letter) => letter.code !== CANCELLED && fits(letter, filter)));
      if (ids.length < CHUNK) break;
    }
  }
  return found.sort((a, b) => b.failedAt - a.failedAt);
}

async function lettersOf(
  store: Store,
  queue: string,
  jobs: readonly { id: string; failedAt: number }[],
): Promise<DeadLetter[]> {
  if (jobs.length === 0) return [];
  const pipeline = store.redis.pipeline();
  for (const { id } of jobs) pipeline.hmget(jobKey(store, queue, id), "failedReason", "atm");
  const [records, facts] = await Promise.all([
    store.redis.mget(jobs.map(({ id }) => store.keys.result(id))),
    repliesOf(pipeline),
  ]);
  const read = await Promise.all(jobs.map(({ id }, n) => readable(store, id, records[n] ?? null)));
  return jobs.map(({ id, failedAt }, n) => {
    const record = read[n];
    const [reason, attempts] = facts[n] as (string | null)[];
    const [code = "unknown", ...message] = (reason ?? "").split(": ");
    return {
      ...{ kind: "job", id, queue, failedAt },
      tenant: record?.tenant ?? DEFAULT_TENANT,
      subject: record ? modelKeyOf(record) : queue,
      code: record?.error?.code ?? code.replace(/ \(attempt \d+\)$/, ""),
      message: record?.error?.message ?? message.join(": "),
      attempts: record?.attempts ?? Number(attempts ?? 0),
      costUsd: record ? paidUsd(record) : null,
    };
  });
}

/** A damaged record hides no other letter. */
function readable(store: Store, id: string, text: string | null) {
  return openRecord(store, id, text).catch(() => undefined);
}

/** Returns whether a filter means a letter. */
export function fits(letter: DeadLetter, { id, code, model, workflow, tenant }: LetterFilter): boolean {
  if (id !== undefined && letter.id !== id) return false;
  if (code !== undefined && letter.code !== code) return false;
  if (model !== undefined && (letter.kind !== "job" || letter.subject !== model)) return false;
  if (workflow !== undefined && (letter.kind !== "run" || letter.subject !== workflow)) return false;
  return tenant === undefined || isOwnedBy(tenant, letter);
}

/** Returns what a failed job was to do; undefined when it cannot be read, or has left its queue. */
export async function payloadOf(
  store: Store,
  queue: string,
  jobId: string,
): Promise<CompletionPayload | undefined> {
  const data = await store.redis.hget(jobKey(store, queue, jobId), "data");
  return completionPayloadSchema.safeParse(await openJobText(store, jobId, data)).data;
}

/** Removes a failed job from its queue, with what it has finished; the record of its end stays as long as it would. False: it has not failed. */
export async function dropJob(store: Store, queue: Queue, jobId: string): Promise<boolean> {
  const job = await queue.getJob(jobId);
  if (!job || !(await job.isFailed())) return false;
  const payload = await payloadOf(store, queue.name, jobId);
  await job.remove();
  await store.redis.del(store.keys.journal(jobId));
  if (payload && isBlobRef(payload.request)) await releaseBlob(store, payload.request, jobId);
  return true;
}
