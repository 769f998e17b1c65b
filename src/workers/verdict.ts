import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  GlueError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
  TokenLimitError,
} from "../shared/errors.ts";
import type { ResultRecord } from "../shared/records.ts";

/** What becomes of an attempt; nothing else can. */
export type Verdict =
  /** The result is recorded: the job completes. */
  | { kind: "done"; record: ResultRecord }
  /** Uses up one attempt. */
  | { kind: "retry"; delayMs: number; error: GlueError }
  /** The provider's pause: the whole queue waits, no attempt is used up. */
  | { kind: "snooze"; delayMs: number; error: GlueError }
  /** Not this worker's to run, or not now: no attempt is used up. */
  | { kind: "putBack"; delayMs: number; reason: string }
  | { kind: "fail"; error: GlueError }
  /** No further row of the batch can succeed until somebody acts; this row stays unsent. */
  | { kind: "stopBatch"; error: GlueError };

type Action = "retry" | "snooze" | "fail" | "stop";

/** Error class → what happens. The first class that fits decides; anything else is retried. */
const ACTIONS: readonly (readonly [new (...args: never[]) => GlueError, Action])[] = [
  [RateLimitError, "snooze"],
  [OverloadedError, "snooze"],
  [APIConnectionError, "retry"],
  [TokenLimitError, "fail"],
  [InvalidRequestError, "fail"],
  [AuthenticationError, "stop"],
  [AccountError, "stop"],
];

export interface AttemptState {
  /** This attempt's number, from 1, counting only attempts that were used up. */
  attempt: number;
  maxAttempts: number;
  /** Epoch milliseconds. */
  deadlineAt: number;
  isBatchRow: boolean;
  /** Attempts that ended in a pause so far, for the growing wait when the provider names none. */
  snoozes: number;
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
  const snooze = action === "snooze";
  if (!snooze && state.attempt >= state.maxAttempts) return { kind: "fail", error };
  const formula = backoffMs(snooze ? state.snoozes : state.attempt, backoff);
  const delayMs = Math.ceil(error.retryAfterMs ?? formula);
  if (now + delayMs > state.deadlineAt) return { kind: "fail", error: deadlineError(error) };
  return { kind: action, delayMs, error };
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

export function deadlineError(last?: GlueError): GlueError {
  return new GlueError({
    code: "deadline_exceeded",
    category: "cancelled",
    message: `the job's deadline passed${last ? ` (last fault: ${last.code})` : " before it could start"}`,
    hint: "enqueue it again, or give it more time",
    status: last?.status,
    providerRequestId: last?.providerRequestId,
  });
}
