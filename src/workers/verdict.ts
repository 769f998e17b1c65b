import type { PauseAsked, SnoozeScope } from "../limits/pause.ts";
import type { Message } from "../shared/chat.ts";
import { policyOf } from "../shared/error-policy.ts";
import { fromErrorRecord, privatePartsOf, toErrorRecord } from "../shared/error-record.ts";
import { GlueError } from "../shared/errors.ts";
import type { ResultRecord } from "../shared/records.ts";
import { LONG_PAUSE_MS } from "../store/long-pause.ts";
import type { PaidCall, Spent } from "./spent.ts";
import type { Pending } from "./suspension.ts";

/** What becomes of an attempt; nothing else can. `calls`: the finished ones of the job, for the history. */
export type Verdict =
  /** The result is recorded, with what it adds to its conversation: the job completes. `sentAt`: of its latest call. */
  | {
      kind: "done";
      record: ResultRecord;
      added?: readonly Message[];
      asked?: readonly Message[] | undefined;
      calls?: readonly PaidCall[];
      sentAt?: number | undefined;
    }
  /** Uses up one attempt. */
  | { kind: "retry"; delayMs: number; error: GlueError }
  /** Waits, and uses up no attempt: the job alone, its queue, or every queue that shares its budget. */
  | {
      kind: "snooze";
      scope: SnoozeScope;
      delayMs: number;
      error: GlueError;
      limited?: LimitedRow | undefined;
    }
  /** Not this worker's to run, or not now: no attempt is used up. */
  | { kind: "putBack"; delayMs: number; reason: string; isBarred?: true }
  /** Calls of its tools wait for a person, or for other jobs: it sleeps, and holds nothing. */
  | { kind: "suspended"; pending: readonly Pending[] }
  /** Another worker has the job: nothing is touched. */
  | { kind: "lost" }
  /**
   * `pause`: what the provider asked for outlasts the job, and the others wait all the same. `models`: of a job that has
   * several.
   */
  | {
      kind: "fail";
      error: GlueError;
      pause?: PauseAsked;
      models?: TriedModels;
      spent?: Spent;
      asked?: readonly Message[] | undefined;
      calls?: readonly PaidCall[];
    }
  /** Refused as a whole account is: the row waits for evidence whose fault that is. The times are of its call. */
  | { kind: "hold"; error: GlueError; sentAt: number; refusedAt: number }
  /** No further row of the batch can succeed until somebody acts; this row stays unsent. */
  | { kind: "stopBatch"; error: GlueError };

/** A row that the provider keeps limiting. */
export interface LimitedRow {
  /** How often so far, in a row: each of them with a call beside it that was answered, or without a time to wait. */
  times: number;
  /** When it was for the first time and for the last time, in epoch milliseconds. */
  firstAt: number;
  lastAt: number;
}

/** The model that a job of several ended with, and those it gave up before. */
type TriedModels = Pick<ResultRecord, "entry" | "model" | "fallbacks">;

const MAX_GUESSED_WAIT_MS = 30_000;
/** How often a row of a batch may be limited by its own doing. */
const MAX_LIMITED = 12;

export interface AttemptState {
  /** This attempt's number, from 1, counting only attempts that were used up. */
  attempt: number;
  maxAttempts: number;
  /** Epoch milliseconds, by the clock that `now` is of. */
  deadlineAt: number;
  isBatchRow: boolean;
  /** Attempts that ended in a pause so far, for the growing wait when the provider names none. */
  snoozes: number;
  /** The code of a fault that may end no second attempt, once an earlier one has ended so. */
  lastingFault?: string | undefined;
  /** When the call was sent that failed, by `performance.now()`; undefined when none was. */
  sentAt?: number | undefined;
  /** How long the budget of a call waits that was refused without a time. */
  limitedMs?: number | undefined;
  /** Of a row whose call was limited: how often by now. */
  limited?: LimitedRow | undefined;
  /** When its lane ends, in epoch milliseconds by the same clock: it waits no longer for room there. */
  laneUntil?: number | undefined;
  /** The circuit breaker takes failures for the provider's own: they use up no attempt. */
  isOutage: boolean;
}

export interface BackoffSettings {
  minWaitMs: number;
  maxWaitMs: number;
  /** Default 1. */
  multiplier?: number | undefined;
}

/** The verdict on an attempt that failed with `error`. */
export function verdictOn(
  error: GlueError,
  state: AttemptState,
  backoff: BackoffSettings,
  now = Date.now(),
): Verdict {
  const { verdict, provider, fails } = policyOf(error);
  const isOfBatch = verdict === "stop" || verdict === "hold";
  if (verdict === "fail" || (isOfBatch && !state.isBatchRow)) return { kind: "fail", error };
  if (verdict === "stop") return { kind: "stopBatch", error };
  if (verdict === "hold") return heldRow(error, state);
  const { limited } = state;
  if (limited && limited.times >= MAX_LIMITED) return heldRow(error, state);
  const isSnooze = verdict === "snooze" || (provider === "down" && state.isOutage);
  const isLast =
    state.attempt >= state.maxAttempts || (fails === "second" && state.lastingFault === error.code);
  if (!isSnooze && isLast) return { kind: "fail", error };
  const leftMs = state.deadlineAt - now;
  const laneMs = (state.laneUntil ?? now) - now;
  const longestMs = laneMs > 0 ? Math.min(leftMs, laneMs) : leftMs;
  const round = isSnooze ? state.snoozes : state.attempt;
  const delayMs =
    state.limitedMs === undefined
      ? waitMs(error, round, backoff, longestMs)
      : Math.min(state.limitedMs, backoff.maxWaitMs);
  const scope = scopeOf(error);
  const reason = `${error.code}: ${error.message}`;
  // A queue waits for as long as it takes, with its jobs; they fail at their deadlines.
  const isOfQueue = isSnooze && scope !== "job" && delayMs > LONG_PAUSE_MS;
  if (delayMs > leftMs && !isOfQueue)
    return { kind: "fail", error: tooLate(error, delayMs), pause: { scope, delayMs, reason } };
  return isSnooze ? { kind: "snooze", scope, delayMs, error, limited } : { kind: "retry", delayMs, error };
}

function heldRow(error: GlueError, { sentAt }: AttemptState): Verdict {
  const refusedAt = performance.now();
  return { kind: "hold", error, sentAt: sentAt ?? refusedAt, refusedAt };
}

/** @param round how often the job has waited for this kind of fault; put-backs count as snoozes too */
function waitMs(error: GlueError, round: number, backoff: BackoffSettings, leftMs: number): number {
  const { wait } = policyOf(error);
  const ms = error.retryAfterMs ?? backoffMs(wait === "level" ? 1 : round, backoff);
  return Math.ceil(wait === "guess" ? Math.min(ms, MAX_GUESSED_WAIT_MS, leftMs) : ms);
}

function scopeOf(error: GlueError): SnoozeScope {
  const { scope } = policyOf(error);
  if (scope !== "queueIfTimed") return scope;
  return error.retryAfterMs === undefined ? "job" : "queue";
}

/** min + random(0, min(max, multiplier·min·2ⁿ) − min): exponential with full jitter above a floor. */
export function backoffMs(
  n: number,
  { minWaitMs, maxWaitMs, multiplier = 1 }: BackoffSettings,
  random = Math.random,
): number {
  const ceiling = Math.max(minWaitMs, Math.min(maxWaitMs, multiplier * minWaitMs * 2 ** n));
  return minWaitMs + random() * (ceiling - minWaitMs);
}

const PASSED = { code: "deadline_exceeded", hint: "enqueue it again, or give it more time" };

/** Of the fault's class: what it has to wait for would outlast the job. */
function tooLate(fault: GlueError, delayMs: number): GlueError {
  const message = `the job's deadline comes before its next attempt, in ${Math.ceil(delayMs / 1000)} s (last fault: ${fault.code})`;
  return fromErrorRecord({ ...toErrorRecord(fault), ...privatePartsOf(fault), ...PASSED, message });
}

/** Of the last fault's class, so that its catcher sees what kept the job from its end. */
export function deadlineError(last?: GlueError): GlueError {
  if (!last) {
    const message = "the job's deadline passed before it could start";
    return new GlueError({ ...PASSED, category: "cancelled", message });
  }
  const message = `the job's deadline passed: ${last.message}`;
  return fromErrorRecord({ ...toErrorRecord(last), ...PASSED, ...privatePartsOf(last), message });
}
