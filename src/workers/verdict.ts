import type { SnoozeScope } from "../limits/pause.ts";
import type { Message } from "../shared/chat.ts";
import { fromErrorRecord, toErrorRecord } from "../shared/error-record.ts";
import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  CostLimitError,
  GlueError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
  StructuredOutputError,
  TokenLimitError,
} from "../shared/errors.ts";
import type { ResultRecord } from "../shared/records.ts";
import { BudgetWaitError, CacheWaitError, CircuitOpenError, CostWaitError } from "../shared/unsent-errors.ts";

/** What becomes of an attempt; nothing else can. */
export type Verdict =
  /** The result is recorded, with what it adds to its conversation: the job completes. */
  | { kind: "done"; record: ResultRecord; added?: readonly Message[] }
  /** Uses up one attempt. */
  | { kind: "retry"; delayMs: number; error: GlueError }
  /** Waits, and uses up no attempt: the job alone, its queue, or every queue that shares its budget. */
  | { kind: "snooze"; scope: SnoozeScope; delayMs: number; error: GlueError }
  /** Not this worker's to run, or not now: no attempt is used up. */
  | { kind: "putBack"; delayMs: number; reason: string }
  /** Another worker has the job: nothing is touched. */
  | { kind: "lost" }
  /**
   * `pause`: what the provider asked for outlasts the job, and the others wait all the same. `answering`: the model, of
   * a job that has several.
   */
  | {
      kind: "fail";
      error: GlueError;
      pause?: { scope: SnoozeScope; delayMs: number };
      answering?: Answering;
      spent?: Spent;
    }
  /** No further row of the batch can succeed until somebody acts; this row stays unsent. */
  | { kind: "stopBatch"; error: GlueError };

/** What a record says of the models that a job of several has called. */
type Answering = Pick<ResultRecord, "entry" | "model" | "fallbacks">;

/** What the finished calls of a job took. */
export type Spent = Pick<ResultRecord, "calls" | "tokens" | "costUsd" | "latencyMs">;

type Action = "retry" | "snooze" | "fail" | "stop";

/** Error class → what happens. The first class that fits decides; anything else is retried. */
const ACTIONS: readonly (readonly [new (...args: never[]) => GlueError, Action])[] = [
  [RateLimitError, "snooze"],
  [OverloadedError, "snooze"],
  [BudgetWaitError, "snooze"],
  [CircuitOpenError, "snooze"],
  [CostWaitError, "snooze"],
  [CacheWaitError, "snooze"],
  [CostLimitError, "stop"],
  [APIConnectionError, "retry"],
  [TokenLimitError, "fail"],
  [InvalidRequestError, "fail"],
  [StructuredOutputError, "fail"],
  [AuthenticationError, "stop"],
  [AccountError, "stop"],
];

const MAX_GUESSED_WAIT_MS = 30_000;

export interface AttemptState {
  /** This attempt's number, from 1, counting only attempts that were used up. */
  attempt: number;
  maxAttempts: number;
  /** Epoch milliseconds. */
  deadlineAt: number;
  isBatchRow: boolean;
  /** Attempts that ended in a pause so far, for the growing wait when the provider names none. */
  snoozes: number;
  /** The circuit breaker is open: the provider fails for everyone, so this job's attempt does not count. */
  isBreakerOpen: boolean;
}

export interface BackoffSettings {
  minWaitMs: number;
  maxWaitMs: number;
}

/** The verdict on an attempt that failed with `error`. */
export function verdictOn(
  error: GlueError,
  state: AttemptState,
  backoff: BackoffSettings,
  now = Date.now(),
): Verdict {
  const action = ACTIONS.find(([type]) => error instanceof type)?.[1] ?? "retry";
  if (action === "fail") return { kind: "fail", error };
  if (action === "stop") return state.isBatchRow ? { kind: "stopBatch", error } : { kind: "fail", error };
  const isSnooze = action === "snooze" || (error instanceof APIConnectionError && state.isBreakerOpen);
  if (!isSnooze && state.attempt >= state.maxAttempts) return { kind: "fail", error };
  // Put-backs count as snoozes too: a whole budget does not wait longer for them.
  const round = error instanceof RateLimitError ? 1 : isSnooze ? state.snoozes : state.attempt;
  const formula = backoffMs(round, backoff);
  const leftMs = state.deadlineAt - now;
  // How long the budget is taken is a guess: the deadline decides.
  const delayMs = Math.ceil(
    error instanceof BudgetWaitError
      ? Math.min(error.waitMs, MAX_GUESSED_WAIT_MS, leftMs)
      : (error.retryAfterMs ?? formula),
  );
  const scope = scopeOf(error);
  if (delayMs > leftMs) return { kind: "fail", error: deadlineError(error), pause: { scope, delayMs } };
  return isSnooze ? { kind: "snooze", scope, delayMs, error } : { kind: "retry", delayMs, error };
}

/** A 429 is about the budget. An overload that names no time says nothing about the next call. */
function scopeOf(error: GlueError): SnoozeScope {
  if (error instanceof RateLimitError) return "budget";
  if (error instanceof CircuitOpenError) return "queue";
  return error instanceof OverloadedError && error.retryAfterMs !== undefined ? "queue" : "job";
}

/** min + random(0, min(max, min·2ⁿ) − min): exponential with full jitter above a floor. */
export function backoffMs(
  n: number,
  { minWaitMs, maxWaitMs }: BackoffSettings,
  random = Math.random,
): number {
  const ceiling = Math.max(minWaitMs, Math.min(maxWaitMs, minWaitMs * 2 ** n));
  return minWaitMs + random() * (ceiling - minWaitMs);
}

/** Of the last fault's class, so that its catcher sees what kept the job from its end. */
export function deadlineError(last?: GlueError): GlueError {
  const passed = { code: "deadline_exceeded", hint: "enqueue it again, or give it more time" };
  if (!last) {
    const message = "the job's deadline passed before it could start";
    return new GlueError({ ...passed, category: "cancelled", message });
  }
  const message = `the job's deadline passed (last fault: ${last.code})`;
  return fromErrorRecord({ ...toErrorRecord(last), ...passed, message });
}
