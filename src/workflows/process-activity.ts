import { DelayedError, UnrecoverableError } from "bullmq";
import {
  type ActivityPayload,
  activityPayloadSchema,
  MAX_ACTIVITY_BYTES,
} from "../shared/activity-payload.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { withLogContext } from "../shared/log-context.ts";
import { bindLogger, type Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import { decode, serialize } from "../shared/serialize.ts";
import { readStored } from "../shared/stored-data.ts";
import {
  type ActivityDenied,
  type ActivityLock,
  type ActivityState,
  countTry,
  endActivity,
  readActivity,
} from "../store/activity.ts";
import { isBlobRef, readBlob, releaseBlob } from "../store/blobs.ts";
import { lostWorkers, putBacksOf } from "../store/bullmq-internals.ts";
import { logAttempt } from "../store/job-log.ts";
import type { AbortReason, ActiveJob } from "../store/job-loop.ts";
import { toldText } from "../store/past-contents.ts";
import { againAfter, putBack, putBackMs } from "../store/put-back.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { EndedEntry } from "../store/run-journal.ts";
import { inlineOrRunBlob } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { readWorkerCards } from "../store/worker-card.ts";
import { reportError } from "../telemetry/error-reports.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { traceIdOf } from "../telemetry/trace-context.ts";
import type { AnyActivity } from "./activity.ts";
import { traceActivity } from "./activity-trace.ts";
import { ActivityTry } from "./activity-try.ts";
import { MAX_LOSSES } from "./local-work.ts";
import { waitMs } from "./retry-policy.ts";
import { asWorkflowError, heartbeatTimeout, isFinal, tooLarge, workerLost } from "./run-errors.ts";

/** The tries without heartbeats that each activity has, at least. */
const MIN_MISSED = 3;
/** How often, and after how long each time, a worker leaves an activity that hung in it to others. */
const [MAX_LEFT, LEFT_MS] = [25, 200];

export interface ActivityInput {
  store: Store;
  logger: Logger;
  metrics: Metrics | undefined;
  activity: AnyActivity;
  /** Of this process, which its tries without heartbeats are written down with. */
  workerId: string;
  lockMs: number;
  active: ActiveJob;
}

/**
 * One try of an activity, from its job to what becomes of it. What is recorded is recorded by the script that also wakes
 * the run. Returns what BullMQ keeps of it; else throws one of BullMQ's signals.
 */
export async function processActivity(input: ActivityInput): Promise<object> {
  const { active } = input;
  const parsed = activityPayloadSchema.safeParse(active.job.data);
  if (!parsed.success) return refuse(input, active.job.data);
  const { workflow, activity, traceparent } = parsed.data;
  const about = { ...workflow, activity, traceId: traceIdOf({ traceparent }) };
  return withLogContext(about, () =>
    traceActivity(active, parsed.data, () => processTry(input, parsed.data)),
  );
}

async function processTry(input: ActivityInput, payload: ActivityPayload): Promise<object> {
  const { store, activity, active } = input;
  const { job, jobId, token } = active;
  const { runId, step } = payload.workflow;
  const lock = { store, queue: job.queueName, jobId, runId, token, lockMs: input.lockMs };
  const state = await readActivity(store, jobId, runId);
  if (state.isOver) return denied("over");
  const lost = lostWorkers(job);
  if (lost >= MAX_LOSSES) return fail(input, lock, payload, workerLost(step));
  if (await isLeftToOthers(input, state)) {
    return putBack(active, {
      delayMs: LEFT_MS,
      reason: "it hung in this worker: another one has a turn",
      putBacks: putBacksOf(job) + 1,
    });
  }
  let given: unknown;
  let details: unknown;
  try {
    const json = isBlobRef(payload.input) ? await readBlob(store, payload.input) : payload.input;
    given = checkWith(
      activity.input,
      payload.typed ? decode(json) : json,
      `the input of activity "${activity.name}"`,
    );
    details = detailsOf(state, step);
  } catch (error) {
    return fail(input, lock, payload, asWorkflowError(error));
  }
  const attempt = state.tries + state.missed + lost + 1;
  const logger = bindLogger(input.logger, { runId, step, activity: activity.name, attempt });
  const options = { lock, activity, input: given, step, attempt, details, signal: active.signal, logger };
  const end = await new ActivityTry(options).run();
  switch (end.kind) {
    case "done":
      return succeed(input, lock, payload, end.value);
    case "failed":
      return failTry(input, lock, payload, {
        error: asWorkflowError(end.error),
        thrown: end.error,
        tries: state.tries + 1,
      });
    case "missed":
      return missTry(input, lock, payload, state.missed + 1);
    case "broken off":
      return breakOff(active, end.reason);
  }
}

/** @throws GlueError `corrupt_data` */
function detailsOf({ details }: ActivityState, step: string): unknown {
  if (details === undefined) return undefined;
  return readStored(`the last heartbeat of step "${step}"`, () => decode(JSON.parse(details)));
}

interface Failure {
  error: GlueError;
  thrown: unknown;
  /** The failed tries, this one included. */
  tries: number;
}

async function failTry(
  input: ActivityInput,
  lock: ActivityLock,
  payload: ActivityPayload,
  { error, thrown, tries }: Failure,
): Promise<object> {
  const { retry } = input.activity;
  if (tries >= retry.maxAttempts || isFinal(thrown)) return fail(input, lock, payload, error);
  const outcome = await untilTaken(input.logger, () => countTry(lock, undefined));
  if (outcome !== "kept") return denied(outcome);
  const againMs = waitMs(retry, tries);
  await noteTry(input, lock, error, { attempt: tries, againMs });
  const reason = `its next try: try ${tries} failed, ${error.code}`;
  return putBack(input.active, { delayMs: againMs, againAt: againAfter(input.store, againMs), reason });
}

async function noteTry(
  { store, logger }: ActivityInput,
  { queue, jobId: id }: ActivityLock,
  error: GlueError,
  at: { attempt: number; againMs: number },
): Promise<void> {
  await logAttempt(store, { queue, id }, error, at).catch((fault: Error) =>
    logger.debug({ fault: fault.message }, "a try was not logged"),
  );
}

async function missTry(
  input: ActivityInput,
  lock: ActivityLock,
  payload: ActivityPayload,
  missed: number,
): Promise<object> {
  const { activity, workerId, active, logger } = input;
  const { heartbeatMs = 0, retry } = activity;
  if (missed >= Math.max(MIN_MISSED, retry.maxAttempts)) {
    return fail(input, lock, payload, heartbeatTimeout(payload.workflow.step, heartbeatMs));
  }
  const outcome = await untilTaken(logger, () => countTry(lock, workerId));
  if (outcome !== "kept") return denied(outcome);
  const { step } = payload.workflow;
  await noteTry(input, lock, heartbeatTimeout(step, heartbeatMs), { attempt: missed, againMs: 0 });
  return putBack(active, { delayMs: 0, reason: `another worker: no heartbeat for ${heartbeatMs} ms` });
}

async function succeed(
  input: ActivityInput,
  lock: ActivityLock,
  payload: ActivityPayload,
  value: unknown,
): Promise<object> {
  const { store, logger, activity } = input;
  const what = `the output of activity "${activity.name}"`;
  let text: string;
  try {
    text = serialize(checkWith(activity.output, value, what));
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_ACTIVITY_BYTES) throw tooLarge(what, bytes, MAX_ACTIVITY_BYTES);
  } catch (error) {
    return fail(input, lock, payload, asWorkflowError(error));
  }
  const stored = await untilTaken(logger, () =>
    inlineOrRunBlob(store, lock.runId, JSON.parse(text) as unknown),
  );
  const brought = isBlobRef(stored) ? { blob: stored } : { value: stored };
  await end(input, lock, payload, { ...brought, typed: true });
  return { status: "succeeded", bytes: Buffer.byteLength(text) };
}

async function fail(
  input: ActivityInput,
  lock: ActivityLock,
  payload: ActivityPayload,
  error: GlueError,
): Promise<never> {
  const { code, message } = error;
  input.logger.warn({ ...payload.workflow, activity: payload.activity, fault: code }, "an activity failed");
  const about = { queue: lock.queue, jobId: lock.jobId, runId: lock.runId, workflow: payload.activity };
  reportError(error, { kind: "activity", code, ...about, traceId: traceIdOf(payload) }, input.logger);
  await end(input, lock, payload, { error: toErrorRecord(error) });
  const failed = new UnrecoverableError(`${code}: ${toldText(input.store, message)}`);
  failed.stack = failed.message;
  throw failed;
}

async function end(
  { store, logger, metrics, active }: ActivityInput,
  lock: ActivityLock,
  { workflow: { step }, input }: ActivityPayload,
  brought: Pick<EndedEntry, "value" | "blob" | "typed" | "error">,
): Promise<void> {
  const entry: EndedEntry = { type: "ended", step, at: Date.now(), ...brought };
  if ((await untilTaken(logger, () => endActivity(lock, entry))) === "fenced") throw new DelayedError();
  const { queueName: queue, timestamp: dueAt, processedOn: startedAt = dueAt } = active.job;
  const [status, code] = brought.error
    ? (["failed", brought.error.code] as const)
    : (["succeeded", ""] as const);
  const told = { queue, class: "activity" as const, status, code, agent: undefined };
  metrics?.jobEnded({ ...told, dueAt, startedAt, endedAt: Date.now() });
  if (isBlobRef(input)) await releaseBlob(store, input, active.jobId);
}

function breakOff(active: ActiveJob, reason: AbortReason): Promise<object> {
  if (reason === "draining") return putBack(active, { delayMs: 0, reason: "its worker stopped" });
  return denied(reason === "cancelled" ? "over" : "fenced");
}

/** Nobody waits for it any more, or another worker holds it: BullMQ is told that it has ended, or that it moved. */
async function denied(outcome: ActivityDenied): Promise<object> {
  if (outcome === "fenced") throw new DelayedError();
  return { status: "cancelled" };
}

/** An activity that missed its heartbeats here goes to another worker that has it, if there is one that takes it. */
async function isLeftToOthers(input: ActivityInput, { missedBy }: ActivityState): Promise<boolean> {
  if (missedBy !== input.workerId || putBacksOf(input.active.job) >= MAX_LEFT) return false;
  const cards = await readWorkerCards(input.store);
  return cards.filter(({ activities }) => activities.includes(input.activity.name)).length > 1;
}

function refuse({ active }: ActivityInput, data: unknown): Promise<never> {
  const version = (data as { v?: unknown } | undefined)?.v;
  if (typeof version === "number" && version > 1) {
    const reason = `needs a worker that reads version ${version} of activities`;
    return putBack(active, { delayMs: putBackMs(), reason });
  }
  throw new UnrecoverableError("invalid_payload: the job's data is not an activity of a run");
}
