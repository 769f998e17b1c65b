import { DelayedError } from "bullmq";
import { isAgentTool } from "../shared/agent.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import { counted } from "../shared/counted.ts";
import { updateJobData } from "../store/job-data.ts";
import { type Approval, forgetWaits, SLEEPS, SUSPENDED_AT, suspendJob } from "../store/job-waits.ts";
import { clockOf } from "../store/redis-clock.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { wakeFirst } from "../store/wake-first.ts";
import type { Attempt } from "./job-attempt.ts";

/** How often a job looks by itself whether the jobs that it waits for have ended: each of them wakes it. */
const CHILD_LOOK_MS = 60_000;
/** Of a job's sleeps the latest are kept. */
const MAX_SLEEPS = 20;

/** What one call of a tool waits for: a person's answer, or the job that answers it. */
export type Pending =
  | { kind: "approval"; approval: Approval; arguments: unknown }
  | { kind: "child"; place: string; jobId: string };

/** The attempt ends here: calls of tools wait for what may take days. */
export class SuspendedError extends Error {
  override name = "SuspendedError";
  readonly pending: readonly Pending[];

  constructor(pending: readonly Pending[]) {
    super("the job is suspended");
    this.pending = pending;
  }
}

/** Puts the job to sleep, or back when what it waits for has come meanwhile. Returns why it goes back. */
export async function suspend(
  attempt: Attempt,
  payload: CompletionPayload,
  pending: readonly Pending[],
): Promise<string> {
  const { context, queue, job, jobId, token, logger } = attempt;
  const asked = pending.filter((one) => one.kind === "approval");
  const children = pending.filter((one) => one.kind === "child");
  const now = clockOf(context.store).now();
  const looks = children.length > 0 ? [now + CHILD_LOOK_MS] : [];
  const { failed, lost, slept } = Object(job.progress) as Record<string, unknown>;
  const outcome = await untilTaken(logger, () =>
    suspendJob(context.store, {
      ...{ jobId, queue: queue.name, token, tenant: payload.tenant, conversation: payload.conversation?.id },
      progress: { failed, lost, slept, startedAt: job.processedOn },
      reason: reasonOf(pending),
      asked,
      children: children.map(({ place, jobId }) => [place, jobId] as const),
      wakeAt: Math.min(...looks, ...asked.map(({ approval }) => approval.expiresAt)),
    }),
  );
  if (outcome === "news") return "what it waited for has come";
  if (outcome === "suspended") {
    const tools = asked.map(({ approval }) => approval.toolName);
    logger.info({ tools, children: children.length }, "job suspended");
  } else logger.warn("this worker no longer owns the job");
  throw new DelayedError();
}

/** Of a job that has ended: wakes the one that waits for it, and forgets what it waited for itself. */
export async function tellWaiting(
  { context, jobId, logger }: Attempt,
  payload: CompletionPayload,
): Promise<void> {
  const { parent } = payload;
  const { store } = context;
  if (parent) await untilTaken(logger, () => wakeFirst(store, parent.queue, parent.jobId, SLEEPS));
  const mayWait = (name: string) => {
    const tool = context.tools.get(name);
    return tool !== undefined && (tool.approval !== undefined || isAgentTool(tool));
  };
  // An agent that had its turn later may have had such tools too.
  if (payload.agents || payload.tools?.some(mayWait))
    await untilTaken(logger, () => forgetWaits(store, jobId));
}

function reasonOf(pending: readonly Pending[]): string {
  const tools = pending.flatMap((one) => (one.kind === "approval" ? one.approval.toolName : []));
  const approvals = tools.length > 0 ? [`a person's answer on ${tools.join(", ")}`] : [];
  const children = pending.length - tools.length;
  return [...approvals, ...(children > 0 ? [`${counted(children, "job")} of other agents`] : [])].join("; ");
}

/**
 * Returns the job's payload with the deadline that it has after its sleep: the time in which others had the word is none of its own.
 * A worker that is lost in between may give it that time twice.
 */
export async function withoutSleep(
  { context, job }: Pick<Attempt, "context" | "job">,
  payload: CompletionPayload,
): Promise<CompletionPayload> {
  const progress = Object(job.progress) as Record<string, unknown>;
  const since = progress[SUSPENDED_AT];
  if (typeof since !== "number") return payload;
  const now = clockOf(context.store).now();
  const sleptMs = Math.max(0, now - since);
  const renewed = { ...payload, deadlineAt: payload.deadlineAt + sleptMs };
  await updateJobData(context.store, job, renewed);
  // For who looks later where the job's time went.
  const sleep = { startedAt: progress.startedAt, from: since, to: now };
  const slept = [...(Array.isArray(progress.slept) ? progress.slept : []), sleep].slice(-MAX_SLEEPS);
  const awake = { waitsFor: undefined, startedAt: undefined, [SUSPENDED_AT]: undefined };
  await job.updateProgress({ ...progress, ...awake, slept });
  return renewed;
}
