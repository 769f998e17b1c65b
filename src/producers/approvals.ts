import type { Decision, PendingApproval } from "../shared/approval.ts";
import { InputError, JobLostError } from "../shared/errors.ts";
import { isOwnedBy } from "../shared/tenant.ts";
import { decide, readArguments, readWaits } from "../store/job-waits.ts";
import { repliesOf } from "../store/redis.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { findJob } from "./job-lookup.ts";

/** Jobs looked at, at a time. */
const PAGE = 100;

/** A call of a tool that waits for a person, and its job. */
export interface ListedApproval extends PendingApproval {
  jobId: string;
}

/** Returns the calls of a job's tools that wait for a person. */
export async function pendingApprovals(store: Store, jobId: string): Promise<PendingApproval[]> {
  const { approvals } = await readWaits(store, jobId);
  const open = approvals.filter(({ decision }) => !decision);
  return Promise.all(
    open.map(async ({ callId, toolName, agent, askedAt, expiresAt }) => ({
      ...{ callId, toolName, arguments: await readArguments(store, jobId, callId) },
      ...{ agent, askedAt, expiresAt },
    })),
  );
}

/**
 * Returns the calls of tools that wait for a person, those asked first in front.
 * @param tenant whose; default: everybody's
 */
export async function listApprovals(
  store: Store,
  { tenant, limit = 100 }: { tenant?: string | undefined; limit?: number } = {},
): Promise<ListedApproval[]> {
  const { redis, keys } = store;
  const listed: ListedApproval[] = [];
  for (let at = 0; listed.length < limit; at += PAGE) {
    const ids = await redis.zrange(keys.approvals, String(at), String(at + PAGE - 1));
    if (ids.length === 0) break;
    const pipeline = redis.pipeline();
    for (const id of ids) pipeline.hmget(keys.waits(id), "tenant", "queue");
    const replies = (await repliesOf(pipeline)) as [string | null, string | null][];
    const owners = replies.map(([owner, queue]) => ({
      tenant: owner || undefined,
      queue: queue ?? undefined,
    }));
    for (const [i, jobId] of ids.entries()) {
      // Somebody removed it from its queue, or it ended without a word.
      if (
        !owners[i]?.queue ||
        (await findJob(store, { id: jobId, queue: owners[i].queue }))?.hasEnded !== false
      )
        await redis.zrem(keys.approvals, jobId);
      else if (tenant === undefined || isOwnedBy(tenant, owners[i]))
        for (const approval of await pendingApprovals(store, jobId)) listed.push({ jobId, ...approval });
    }
  }
  return listed.slice(0, limit);
}

/**
 * Answers whether a tool may be called; the first answer stays.
 * @throws InputError `approval_unknown`, `approval_decided` for another answer than the one that stands, `approval_expired`;
 * JobLostError
 */
export async function answerApproval(
  store: Store,
  jobId: string,
  callId: string,
  answer: Pick<Decision, "approved" | "reason" | "by">,
): Promise<Decision> {
  const at = clockOf(store).now();
  const standing = await decide(store, jobId, callId, { ...answer, at });
  if (standing === "unknown") {
    if (!(await findJob(store, { id: jobId }))) throw new JobLostError(jobId);
    const open = (await pendingApprovals(store, jobId)).map((approval) => approval.callId);
    throw new InputError(
      `job ${jobId} asks nobody about the call "${callId}"`,
      open.length > 0 ? `it asks about: ${open.join(", ")}` : "it waits for nobody's answer now",
      "approval_unknown",
    );
  }
  if (standing === "expired") {
    throw new InputError(
      `the time for an answer on the call "${callId}" of job ${jobId} is over`,
      "the tool's onApprovalTimeout says what follows; approvalTimeoutMs gives more time",
      "approval_expired",
    );
  }
  if (standing.approved === answer.approved) return standing;
  throw new InputError(
    `the call "${callId}" of job ${jobId} was ${standing.approved ? "approved" : "rejected"} before`,
    "the first answer stays",
    "approval_decided",
  );
}
