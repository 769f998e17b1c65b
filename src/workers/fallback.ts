import type { Job } from "bullmq";
import { pauseModel } from "../limits/pause.ts";
import type { CompletionPayload, FallbackTarget } from "../shared/catalog.ts";
import { policyOf } from "../shared/error-policy.ts";
import { fromErrorRecord, privatePartsOf, toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { type ModelRef, modelRef } from "../shared/model-name.ts";
import { snoozesOf } from "../store/bullmq-internals.ts";
import { FencedError, type JobJournal } from "../store/job-journal.ts";
import { LONG_PAUSE_MS, PAUSE_TEST_MS } from "../store/long-pause.ts";
import type { WorkerContext } from "./context.ts";
import { type Attempt, waitsFor } from "./job-attempt.ts";
import { backoffMs, type Verdict } from "./verdict.ts";

/**
 * A longer wait for a model's limits sends the job to the next one: about what an answer itself takes. Budgets refill by
 * the second, and a shorter wait is worth the preferred model.
 */
const MAX_WAIT_MS = 10_000;
const MAX_REASONS_CHARS = 500;

/** What speaks for one of several deployments. */
interface Preference {
  /** How long its budget would keep a call waiting; infinite where this worker cannot call it. */
  waitMsOf: (target: FallbackTarget) => number;
  /** The entry that wants back what it wrote in the conversation. */
  holder?: string | undefined;
}

/**
 * The model whose turn it is: the job's own, or the fallback after as many as its journal says were given up. Of deployments it is
 * the one that has answered already, else the one that holds the conversation, else the one with the shortest wait; a conversation
 * that nobody holds goes to the one that is drawn for it.
 */
export function presentTarget(
  payload: CompletionPayload,
  journal: JobJournal | undefined,
  { waitMsOf, holder }: Preference,
): FallbackTarget {
  const { fallbacks = [], alike = 0, conversation } = payload;
  const left = journal?.fallbacks.map(({ model }) => model) ?? [];
  const open = [payload, ...fallbacks].slice(0, alike).filter((target) => !left.includes(keyOf(target)));
  const [first] = open;
  if (!first) return fallbacks[left.length - 1] ?? payload;
  const last = journal?.calls.at(-1);
  const going = last && open.find((target) => keyOf(target) === modelRef(last.entry, last.model).key);
  const holding = open.find(({ provider }) => provider.entry === holder);
  if (going || holding || conversation) return going ?? holding ?? first;
  const waits = open.map((target) => ({ target, waitMs: waitMsOf(target) }));
  return waits.reduce((best, one) => (one.waitMs < best.waitMs ? one : best)).target;
}

function keyOf({ provider, model }: FallbackTarget): string {
  return modelRef(provider.entry, model).key;
}

interface RoutedJob {
  /** The present one. */
  model: ModelRef;
  payload: CompletionPayload;
  journal: JobJournal;
}

interface Failure {
  error: GlueError;
  /** As of a job that has one model. */
  verdict: Verdict;
}

/**
 * What becomes of a failed attempt at a job of several models. The queue of such jobs never waits: the present model's
 * queue and budget do.
 * @returns undefined when the job goes on with the next model, which the journal says then
 */
export async function fallBack(
  { context, job, logger }: Attempt,
  { model: ref, payload, journal }: RoutedJob,
  { error, verdict }: Failure,
): Promise<Verdict | undefined> {
  await pauseFor(context, ref, error, verdict);
  const hasNext = journal.fallbacks.length < (payload.fallbacks?.length ?? 0);
  const hasWaitedForBudget = waitsFor(job).startsWith("budget_wait");
  try {
    const hasAlike = journal.fallbacks.length + 1 < (payload.alike ?? 0);
    if (hasNext && givesUp({ error, verdict, hasWaitedForBudget, hasAlike })) {
      const { code, message } = error;
      const fallback = { model: ref.key, code, message };
      await journal.append({ kind: "fallback", fallback, attemptsMade: job.attemptsMade });
      logger.info({ model: ref.key, fault: code }, "the job goes on with its next model");
      return undefined;
    }
    if (verdict.kind === "fail") return await endOf(ref, verdict, journal);
    // All of them refused the row: once there is evidence, they are asked anew.
    if (verdict.kind === "hold") await journal.append({ kind: "failed" });
  } catch (fault) {
    if (fault instanceof FencedError) return { kind: "lost" };
    throw fault;
  }
  return verdict.kind === "snooze" ? onlyTheJob(context, job, verdict) : verdict;
}

/** Its queue does not wait, so that the breaker's fixed short delay would have all its jobs ask it again and again. */
function onlyTheJob(
  { settings }: WorkerContext,
  job: Job,
  snooze: Extract<Verdict, { kind: "snooze" }>,
): Verdict {
  const isBlocked = policyOf(snooze.error).wait === "breaker";
  const leastMs = isBlocked ? backoffMs(snoozesOf(job), settings.retry) : 0;
  // A long pause is tested every minute, by such jobs too, and must not outlast their deadlines.
  const delayMs = snooze.delayMs > LONG_PAUSE_MS ? PAUSE_TEST_MS : Math.max(snooze.delayMs, leastMs);
  return { ...snooze, scope: "job", delayMs };
}

/** Whether another model may do better than waiting for this one, or than what ended the job. */
export function givesUp({
  error,
  verdict,
  hasWaitedForBudget,
  hasAlike = false,
}: Failure & {
  /** Another deployment of the same kind is left: no wait is worth it. */
  hasAlike?: boolean;
  /** The attempt before this one ended in waiting for the budget. */
  hasWaitedForBudget: boolean;
}): boolean {
  const { fallsBack, wait } = policyOf(error);
  if (fallsBack === "never") return false;
  if (verdict.kind === "fail" || verdict.kind === "hold") return true;
  if (verdict.kind !== "snooze") return false;
  // A line that is predicted to be short, and was not, is a long one.
  const isLongLine = wait === "guess" && hasWaitedForBudget;
  return hasAlike || fallsBack === "atOnce" || isLongLine || verdict.delayMs > MAX_WAIT_MS;
}

async function pauseFor(context: WorkerContext, model: ModelRef, error: GlueError, verdict: Verdict) {
  // Every call asks the breaker anyway.
  if (policyOf(error).wait === "breaker") return;
  const reason = `${error.code}: ${error.message}`;
  if (verdict.kind === "snooze") await pauseModel(context, model, { ...verdict, reason });
  if (verdict.kind === "fail" && verdict.pause) await pauseModel(context, model, verdict.pause);
}

/** The last model's error, with why the others were given up. Its pause is made already. */
async function endOf(
  { entry, model }: ModelRef,
  { error, spent }: Extract<Verdict, { kind: "fail" }>,
  journal: JobJournal,
): Promise<Verdict> {
  const fallbacks = [...journal.fallbacks];
  await journal.append({ kind: "failed" });
  if (fallbacks.length === 0) return { kind: "fail", error, spent, models: { entry, model } };
  const reasons = fallbacks.map(({ model: key, code }) => `${key}: ${code}`).join("; ");
  const record = toErrorRecord(error);
  const context = { ...record.context, fallbacks: reasons.slice(0, MAX_REASONS_CHARS) };
  const explained = fromErrorRecord({ ...record, context, ...privatePartsOf(error) });
  return { kind: "fail", error: explained, spent, models: { entry, model, fallbacks } };
}
