import type { JobTimes } from "../store/bullmq-internals.ts";

/** What a stretch of a step's or a job's time went to. */
export type SpanKind =
  | "queue"
  | "budget"
  | "breaker"
  | "retry"
  | "model"
  | "tool"
  | "work"
  | "wait"
  | "child";

/** A stretch of time, in epoch milliseconds; `to` is absent while it goes on. */
export interface Span {
  kind: SpanKind;
  from: number;
  to?: number | undefined;
}

/** An attempt that was not the last one, as its worker noted it in the job's log. */
export interface EndedAttempt {
  at: number;
  attempt: number;
  code: string;
  message: string;
  /** The wait before the next attempt. */
  againMs: number;
}

const LINE = /^(\S+) attempt (\d+) ended: ([a-z_]+): (.*?)(?:; again in (\d+) s)?$/s;

/** Returns the attempts that the lines of a job's log tell of; lines of another form are left out. */
export function endedAttempts(lines: readonly string[]): EndedAttempt[] {
  return lines.flatMap((line) => {
    const [, at = "", attempt, code = "", message = "", seconds = "0"] = LINE.exec(line) ?? [];
    const time = Date.parse(at);
    if (Number.isNaN(time)) return [];
    return [{ at: time, attempt: Number(attempt), code, message, againMs: Number(seconds) * 1000 }];
  });
}

/** Returns what a wait after such an error is for. */
function waitKind(code: string): SpanKind {
  if (/^(rate_limit|budget_wait|cost_wait|paused|overloaded)/.test(code)) return "budget";
  return code.startsWith("circuit_open") ? "breaker" : "retry";
}

interface JobTimesKnown {
  askedAt: number;
  /** Absent while it has not ended. */
  endedAt: number | undefined;
  attempts: readonly EndedAttempt[];
  /** What BullMQ has of it; undefined when it is in no queue (any more). */
  job: JobTimes | undefined;
  /** Milliseconds of its calls that brought an answer, and of its tools. */
  latencyMs: number;
  toolMs: number;
  /** Why it does not run now, as the worker that put it back wrote it. */
  waitsFor?: string | undefined;
}

/**
 * Returns where a job's time went, in order: waits before, between and after attempts, then the calls, then the tools. Calls and
 * tools take turns in truth; how long each took together is what is recorded.
 */
export function spansOf({
  askedAt,
  endedAt,
  attempts,
  job,
  latencyMs,
  toolMs,
  waitsFor,
}: JobTimesKnown): Span[] {
  const spans: Span[] = [];
  const end = endedAt ?? Number.POSITIVE_INFINITY;
  let at = askedAt;
  const until = (kind: SpanKind, to: number) => {
    const stop = Math.min(to, end);
    if (stop > at) spans.push({ kind, from: at, to: stop });
    at = Math.max(at, stop);
  };
  for (const [n, ended] of attempts.entries()) {
    until(n === 0 ? "queue" : "model", ended.at);
    until(waitKind(ended.code), ended.at + ended.againMs);
  }
  if (endedAt !== undefined) {
    // Between its worker's taking it and its call a job waits for the model's limits.
    const isOfLastTry = job?.startedAt !== undefined && job.startedAt >= at && job.startedAt <= endedAt;
    if (isOfLastTry) until("queue", job.startedAt ?? at);
    const callMs = latencyMs + toolMs > 0 || !isOfLastTry ? latencyMs : endedAt - at;
    const begun = Math.max(at, endedAt - callMs - toolMs);
    until(isOfLastTry ? "budget" : "queue", begun);
    until("model", Math.min(endedAt, begun + callMs));
    until("tool", endedAt);
    return spans;
  }
  if (job?.startedAt !== undefined && waitsFor === undefined) {
    until("queue", job.startedAt);
    return [...spans, { kind: "model", from: at }];
  }
  return [...spans, { kind: waitsFor === undefined ? "queue" : waitKind(waitsFor), from: at }];
}
