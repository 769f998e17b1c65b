import { pausedError, pauseIds } from "../limits/pause.ts";
import {
  type CompletionPayload,
  type CompletionSummary,
  hasSeveralCalls,
  jobCatalog,
} from "../shared/catalog.ts";
import { JobCancelledError } from "../shared/errors.ts";
import { withLogContext } from "../shared/log-context.ts";
import { bindLogger } from "../shared/logger.ts";
import { modelRef } from "../shared/model-name.ts";
import { emptyRecord } from "../shared/records.ts";
import { snoozesOf } from "../store/bullmq-internals.ts";
import { updateJobData } from "../store/job-data.ts";
import { JobJournal } from "../store/job-journal.ts";
import { lookUp, type Standing } from "../store/look-up.ts";
import { clockOf } from "../store/redis-clock.ts";
import { traceIdOf } from "../telemetry/trace-context.ts";
import { isTracing } from "../telemetry/tracing.ts";
import { type CostLimit, openCostLimits } from "./call-costs.ts";
import { barred, lackOf, unreadable } from "./can-run.ts";
import { runCompletion } from "./completion-loop.ts";
import type { WorkerContext } from "./context.ts";
import { stateHolder, WAITS_FOR_EARLIER, waitForTurn } from "./conversation.ts";
import { presentTarget } from "./fallback.ts";
import { type Attempt, dueAt, jobClassOf, lastFault, lostCalls, type ModelAttempt } from "./job-attempt.ts";
import { JobTrace } from "./job-trace.ts";
import { judge } from "./judge.ts";
import type { LoopInput } from "./loop-input.ts";
import { REFUSED_MS, toRefusalError, WAITS_FOR_EVIDENCE } from "./refused-row.ts";
import { HELD_MS, settle } from "./settle.ts";
import { withoutSleep } from "./suspension.ts";
import { deadlineError, type Verdict } from "./verdict.ts";

/**
 * A job's whole path in the worker: bind the logger → parse again → what this worker can tell by itself → its models, one
 * after the other → the verdict happens. Whatever it throws is one of BullMQ's own signals.
 */
export async function processJob(input: Omit<Attempt, "logger">): Promise<CompletionSummary> {
  const { context, queue, job, jobId } = input;
  const about = { queue: queue.name, jobId, attempt: job.attemptsMade + 1 };
  const parsed = jobCatalog.completion.input.safeParse(job.data);
  if (!parsed.success) {
    const logger = bindLogger(context.logger, about);
    return settle({ ...input, logger }, undefined, unreadable(job));
  }
  const { data: payload } = parsed;
  const trace = isTracing() ? new JobTrace(input, payload) : undefined;
  const fields = { ...about, ...aboutPayload(payload), traceId: trace?.traceId ?? traceIdOf(payload) };
  const attempt: Attempt = { ...input, logger: bindLogger(context.logger, fields) };
  tellBegin(attempt, payload);
  const work = async () => {
    const bar = barred(attempt, payload);
    // When its time is over, a job ends by the hand of any worker.
    const isOver = bar?.kind === "putBack" && clockOf(context.store).now() > payload.deadlineAt;
    const verdict = bar && !isOver ? bar : await tryModels(attempt, payload, bar);
    return settle(attempt, payload, verdict, trace?.judged(verdict, payload));
  };
  return withLogContext(fields, () => (trace ? trace.run(work) : work()));
}

/** What lines of the log say of a job, beside its own names. */
function aboutPayload({ requestId, tenant, agent, batch, workflow, conversation }: CompletionPayload) {
  return {
    ...{ requestId, tenant, agent, batchId: batch?.id },
    ...{ runId: workflow?.runId, step: workflow?.step, conversation: conversation?.id },
  };
}

function tellBegin({ context: { metrics }, queue, job, logger }: Attempt, payload: CompletionPayload): void {
  logger.debug({ model: modelRef(payload.provider.entry, payload.model).key }, "job begins");
  if (!metrics || job.attemptsStarted > 1) return;
  metrics.jobBegan(queue.name, jobClassOf(payload), Date.now() - dueAt(job));
}

/** The verdict on the first model that answers, or that the job stays with. */
async function tryModels(attempt: Attempt, given: CompletionPayload, bar?: Verdict): Promise<Verdict> {
  let payload = given;
  for (;;) {
    const model = modelRef(payload.provider.entry, payload.model);
    const tried: ModelAttempt = { payload, model, journal: undefined, timing: {} };
    try {
      return await tryModel(attempt, tried, bar);
    } catch (error) {
      const verdict = await judge(attempt, tried, error);
      if (verdict) return verdict;
    }
    payload = tried.payload;
  }
}

/**
 * One attempt at the model whose turn it is: look for the record → wait for the conversation → open the journal →
 * open the cost limits → choose the model → call it, until an answer stands.
 * @throws what `judge` has a verdict on
 */
async function tryModel(attempt: Attempt, tried: ModelAttempt, bar: Verdict | undefined): Promise<Verdict> {
  const { context, jobId } = attempt;
  const standing = await lookUp(
    context.store,
    jobId,
    rowPlace(tried.payload),
    pauseIds(context, tried.model),
  );
  if (standing.kind !== "clear") return verdictOnStanding(context, standing, tried.payload, jobId);
  tried.payload = await withoutSleep(attempt, tried.payload);
  if (standing.failedAt !== undefined) tried.payload = await withNewDeadline(attempt, tried.payload);
  const waiting = await waitForConversation(attempt, tried.payload);
  if (waiting) return waiting;
  tried.journal = await openJournal(attempt, tried.payload);
  if (clockOf(context.store).now() > tried.payload.deadlineAt)
    throw deadlineError(standing.isPaused ? await pausedError(context, tried.model) : lastFault(attempt.job));
  if (bar) return bar;
  const costLimits = await openCostLimits(context, jobId, tried.payload, standing.hasCostLimit);
  const lack = await chooseModel(attempt, tried);
  if (lack) return lack;
  const outcome = await runCompletion(context, {
    ...loopInput(attempt, tried, costLimits),
    failedAt: standing.failedAt,
    mayBePaused: standing.isPaused,
  });
  return { kind: "done", ...outcome, sentAt: tried.timing.sentAt };
}

function rowPlace({ batch, provider, model }: CompletionPayload) {
  return batch && { batchId: batch.id, modelKey: batch.key ?? modelRef(provider.entry, model).key };
}

function verdictOnStanding(
  { metrics }: WorkerContext,
  standing: Exclude<Standing, { kind: "clear" }>,
  payload: CompletionPayload,
  jobId: string,
): Verdict {
  switch (standing.kind) {
    case "finished":
      metrics?.paidCallsReused("record", standing.record.calls ?? 1);
      return { kind: "done", record: standing.record };
    case "acknowledged":
      return { kind: "done", record: emptyRecord(jobId, payload, "succeeded") };
    case "cancelled":
      return { kind: "fail", error: new JobCancelledError() };
    case "refused":
      return standing.conviction
        ? { kind: "fail", error: toRefusalError(standing.conviction) }
        : { kind: "putBack", delayMs: REFUSED_MS, reason: WAITS_FOR_EVIDENCE };
    case "held":
      return { kind: "putBack", delayMs: HELD_MS, reason: standing.reason };
  }
}

/** An operator's retry of a job whose time was over has that of a new job. */
async function withNewDeadline(
  { context, job }: Attempt,
  payload: CompletionPayload,
): Promise<CompletionPayload> {
  const now = clockOf(context.store).now();
  if (now <= payload.deadlineAt) return payload;
  const { interactive, batch } = jobCatalog.completion;
  const { deadlineMs } = payload.batch ? batch : interactive;
  const renewed = { ...payload, deadlineAt: now + deadlineMs };
  await updateJobData(context.store, job, renewed);
  return renewed;
}

/** Puts a call back whose conversation waits for an earlier one. */
async function waitForConversation(
  { context, job, jobId }: Attempt,
  { conversation }: CompletionPayload,
): Promise<Verdict | undefined> {
  if (!conversation) return undefined;
  const delayMs = await waitForTurn(context, jobId, conversation, snoozesOf(job));
  return delayMs === undefined ? undefined : { kind: "putBack", delayMs, reason: WAITS_FOR_EARLIER };
}

/** Undefined for a job of one call. */
async function openJournal(
  { context: { store }, queue, jobId, token, logger }: Attempt,
  payload: CompletionPayload,
): Promise<JobJournal | undefined> {
  if (!hasSeveralCalls(payload)) return undefined;
  return JobJournal.open({ store, queue: queue.name, jobId, token, logger });
}

/** What a call may take, by which deployments are compared before its request is read. */
const USUAL_TOKENS = { input: 500, output: 500 };

/** Takes the model whose turn it is; a verdict when this worker cannot call it. */
async function chooseModel({ context }: Attempt, tried: ModelAttempt): Promise<Verdict | undefined> {
  const { payload, journal } = tried;
  const { alike, conversation } = payload;
  const { provider, model } = presentTarget(payload, journal, {
    waitMsOf: ({ provider, model }) =>
      lackOf(context, provider)
        ? Number.POSITIVE_INFINITY
        : context.limiter.predictedWaitMs(modelRef(provider.entry, model).key, { tokens: USUAL_TOKENS }),
    holder: alike && conversation ? await stateHolder(context, conversation) : undefined,
  });
  tried.model = modelRef(provider.entry, model);
  return lackOf(context, provider);
}

function loopInput(
  attempt: Attempt,
  tried: ModelAttempt,
  costLimits: CostLimit[],
): Omit<LoopInput, "mayBePaused" | "failedAt"> {
  const { job, jobId, signal, withoutSlot, beforeCall, assertHeld, controller, logger } = attempt;
  const { name: queue } = attempt.queue;
  const { attemptsMade, priority } = job;
  const { deadlineAt, fallbacks } = tried.payload;
  const isRouted = fallbacks !== undefined;
  const limits = { deadlineAt, priority, costLimits, beforeCall, assertHeld, controller };
  return {
    ...tried,
    onModel: (model) => {
      tried.model = model;
    },
    ...limits,
    timeouts: tried.payload,
    jobId,
    queue,
    signal,
    withoutSlot,
    logger,
    isRouted,
    attemptsMade,
    lost: lostCalls(job),
  };
}
