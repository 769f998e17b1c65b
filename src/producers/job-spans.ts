import type { JobTimes } from "../store/bullmq-internals.ts";
import type { EndedAttempt } from "../store/job-log.ts";

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

/** Returns what a wait after such an error is for. */
function waitKind(code: string): SpanKind {
  if (/^(rate_limit|budget_wait|cost_wait|paused|overloaded)/.test(code)) return "budget";
  return code.startsWith("circuit_open") ? "breaker" : "retry";
}

/** Returns what an open job waits for: an error's code comes before its text; all else is what the fleet lacks, or has before it. */
function openWaitKind(waitsFor: string | undefined): SpanKind {
  return waitsFor !== undefined && /^\w+(:|$)/.test(waitsFor) ? waitKind(waitsFor) : "queue";
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
  /** Since when it waits for a person, or for the job of another agent; epoch milliseconds. */
  suspendedAt?: number | undefined;
  /** The sleeps that are over, in their order, each with the begin of the attempt before it; epoch milliseconds. */
  slept?: readonly { startedAt?: number; from: number; to: number }[] | undefined;
}

/** What a worker wrote of a job that it put back, or to sleep. */
export type StoredWait = Pick<JobTimesKnown, "waitsFor" | "suspendedAt" | "slept">;

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
  suspendedAt,
  slept = [],
}: JobTimesKnown): Span[] {
  const spans: Span[] = [];
  const end = endedAt ?? Number.POSITIVE_INFINITY;
  let at = askedAt;
  const until = (kind: SpanKind, to: number) => {
    const stop = Math.min(to, end);
    if (stop > at) spans.push({ kind, from: at, to: stop });
    at = Math.max(at, stop);
  };
  const sleeps = [...slept];
  const passSleeps = (before: number) => {
    for (; sleeps[0] && sleeps[0].from <= before; sleeps.shift()) {
      const [{ startedAt, from, to }] = sleeps as [(typeof sleeps)[0]];
      if (startedAt !== undefined) until("queue", startedAt);
      until("model", from);
      until("wait", to);
    }
  };
  for (const [n, ended] of attempts.entries()) {
    passSleeps(ended.at);
    until(n === 0 && at === askedAt ? "queue" : "model", ended.at);
    until(waitKind(ended.code), ended.at + ended.againMs);
  }
  passSleeps(end);
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
  if (job?.startedAt !== undefined && (waitsFor === undefined || suspendedAt !== undefined)) {
    until("queue", Math.min(job.startedAt, suspendedAt ?? job.startedAt));
    if (suspendedAt === undefined) return [...spans, { kind: "model", from: at }];
    until("model", suspendedAt);
    return [...spans, { kind: "wait", from: at }];
  }
  return [...spans, { kind: openWaitKind(waitsFor), from: at }];
}
