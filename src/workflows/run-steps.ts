import { addJobs } from "../producers/add-jobs.ts";
import { completionJob } from "../producers/completion-job.ts";
import { sha256 } from "../shared/digest.ts";
import { completionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { AskedEntry, StepKind } from "../store/run-journal.ts";
import { DEFAULT_DEADLINE_MS, isBounded, type RunRecord } from "../store/run-record.ts";
import { carrierOf } from "../telemetry/trace-context.ts";
import { activeSpan } from "../telemetry/tracing.ts";
import { addActivities } from "./activity-jobs.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { startRun } from "./start-run.ts";
import type { OpenStep } from "./step.ts";

/** Jobs per call of addBulk: more in one transaction hold Redis up. */
const CHUNK = 500;

/** Whether steps of a kind are jobs or runs of their own. */
export function isOutside(kind: StepKind): boolean {
  return kind === "completion" || kind === "activity" || kind === "child";
}

/** What the journal says of a step that was asked for. @param digestOf of what was asked, as it may be stored in clear */
export function askedEntry(
  { id: runId, retries }: RunRecord,
  step: OpenStep,
  now: number,
  digestOf: (text: string) => string,
): AskedEntry {
  const { id, kind, digest, subject, effect } = step;
  const entry: AskedEntry = { type: "asked", step: id, kind, digest, subject, at: now };
  // The job's id holds the question too: an answer to another one is never taken for it.
  if (isOutside(kind)) {
    // After a retry a step is asked by a new job: the old one has its end.
    const question = retries === 0 ? `${id}\n${digest}` : `${id}\n${digest}\n${retries}`;
    entry.job = `${runId}.${digestOf(sha256(question)).slice(0, 16)}`;
  }
  if (effect.kind === "child" && effect.abandon) entry.abandon = true;
  if (effect.kind === "sleep") entry.until = now + effect.ms;
  if (effect.kind === "signal" && effect.timeoutMs !== undefined) entry.until = now + effect.timeoutMs;
  return entry;
}

/** Makes the jobs and child runs of steps that the journal has. Doing it twice does nothing. */
export async function dispatch(
  fleet: FleetAccess,
  run: RunRecord,
  steps: readonly OpenStep[],
): Promise<void> {
  const byModel = Map.groupBy(
    steps.filter((step) => step.effect.kind === "completion"),
    (step) => step.subject,
  );
  for (const group of byModel.values()) {
    for (let i = 0; i < group.length; i += CHUNK) await addCalls(fleet, run, group.slice(i, i + CHUNK));
  }
  await addActivities(fleet, run, steps);
  for (let i = 0; i < steps.length; i += CHUNK) {
    await Promise.all(steps.slice(i, i + CHUNK).map((step) => startChild(fleet, run, step)));
  }
  for (const step of steps) step.isDispatched = true;
}

async function startChild(
  fleet: FleetAccess,
  run: RunRecord,
  { id, effect, asked }: OpenStep,
): Promise<void> {
  if (effect.kind !== "child" || !asked?.job) return;
  await startRun(fleet, {
    ...effect,
    runId: asked.job,
    priority: effect.priority ?? run.priority,
    tenant: run.tenant,
    by: run.by,
    nesting: run.nesting,
    defaultModel: run.defaultModel,
    providerOptions: run.providerOptions,
    deadlineAt: isBounded(run) && !effect.abandon ? run.deadlineAt : undefined,
    parent: { runId: run.id, step: id, queue: run.queue },
  });
}

async function addCalls(
  { store, settings, queues }: FleetAccess,
  run: RunRecord,
  steps: readonly OpenStep[],
): Promise<void> {
  const jobs = steps.flatMap(({ id, effect, asked }) => {
    if (effect.kind !== "completion") return [];
    const {
      idempotencyKey: _,
      conversation: __,
      deadlineMs = Number.POSITIVE_INFINITY,
      ...input
    } = effect.input;
    return [
      {
        ...input,
        step: id,
        jobId: asked?.job ?? "",
        // A run without a priority of its own has 0.
        priority: input.priority ?? (run.priority || undefined),
        tenant: run.tenant,
        by: run.by,
        nesting: run.nesting,
        ...carrierOf(activeSpan()),
        deadlineMs: Math.min(deadlineMs, run.deadlineAt - clockOf(store).now()),
      },
    ];
  });
  const [first] = jobs;
  if (!first) return;
  const queue = await queues.registered(first.fallbacks ? ROUTE_QUEUE : completionQueueName(first.model));
  const parent = { id: run.id, queue: `${store.keys.prefix}:${run.queue}` };
  const isLong = run.deadlineAt - Date.now() > DEFAULT_DEADLINE_MS;
  const made = await Promise.all(
    jobs.map(async ({ step, ...input }) => {
      const workflow = { runId: run.id, step, ...(isLong && { keepUntil: run.deadlineAt }) };
      const given = { ...input, urgency: "interactive" as const, workflow, runQueue: run.queue };
      const job = await completionJob(store, settings, given);
      return { ...job, name: step, opts: { ...job.opts, parent, ignoreDependencyOnFailure: true } };
    }),
  );
  await addJobs(queues, queue, made);
}
