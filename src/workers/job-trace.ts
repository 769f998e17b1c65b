import type { Job } from "bullmq";
import type { CompletionPayload } from "../shared/catalog.ts";
import { modelRef } from "../shared/model-name.ts";
import type { ResultRecord } from "../shared/records.ts";
import {
  markFailed,
  recordWait,
  type Span,
  setSpanAttributes,
  sharedSpan,
  type WaitReason,
  withSpan,
} from "../telemetry/tracing.ts";
import { WAITS_FOR_EARLIER } from "./conversation.ts";
import type { Attempt, Waiting } from "./job-attempt.ts";
import type { Verdict } from "./verdict.ts";

/** What a job waits for, by its error's code; after other ones it waits for its next attempt. */
const REASONS: Readonly<Record<string, WaitReason>> = {
  budget_wait: "budget",
  cost_wait: "budget",
  circuit_open: "breaker",
  cache_wait: "cache",
  paused: "provider",
  rate_limit: "provider",
  overloaded: "provider",
};

/**
 * A job's part in its trace: one span from its enqueueing to its end, over all attempts and workers. Each worker that has the job puts what
 * it does under that span; the one that ends the job ends the span.
 */
export class JobTrace {
  readonly #span: Span;
  readonly #attempt: Omit<Attempt, "logger">;
  readonly #takenAt = Date.now();
  readonly #waited: Waiting | undefined;
  readonly #queuedAt: number | undefined;
  #isOver = false;

  constructor(attempt: Omit<Attempt, "logger">, payload: CompletionPayload) {
    const { job, jobId } = attempt;
    this.#attempt = attempt;
    this.#waited = waitingOf(job);
    this.#queuedAt = queuedAt(job);
    this.#span = sharedSpan("gluellm.job", {
      id: `job:${jobId}`,
      kind: "CONSUMER",
      startedAt: job.timestamp,
      carrier: payload,
      // A trace of a million rows is none.
      isLinked: payload.batch !== undefined,
    });
  }

  /** The id of its trace. */
  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  /** Does an attempt, whose spans stand under the job's, and which tells the verdict on it. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    return withSpan(this.#span, async () => {
      if (this.#queuedAt !== undefined) recordWait("queue", this.#queuedAt, this.#takenAt);
      try {
        return await work();
      } finally {
        if (this.#isOver) this.#span.end();
      }
    });
  }

  /** Of the verdict that is about to happen. Returns what the job waits for from now on; undefined: it ends. */
  judged(verdict: Verdict, payload: CompletionPayload): Waiting | undefined {
    const waiting = this.#waitAfter(verdict);
    // One wait for one reason, however often the job was taken up in between.
    if (waiting && this.#waited && waiting.for === this.#waited.for && !this.#hasCalled(verdict)) {
      return this.#waited;
    }
    if (this.#waited) recordWait(this.#waited.for, this.#waited.since, this.#takenAt);
    if (waiting) return waiting;
    this.#isOver = verdict.kind !== "lost";
    this.#describe(verdict, payload);
    return undefined;
  }

  #waitAfter(verdict: Verdict): Waiting | undefined {
    const since = this.#hasCalled(verdict) ? Date.now() : this.#takenAt;
    switch (verdict.kind) {
      case "retry":
        return { for: "retry", since };
      case "snooze":
        return { for: REASONS[verdict.error.code] ?? "retry", since };
      case "putBack":
        return { for: verdict.reason === WAITS_FOR_EARLIER ? "conversation" : "other", since };
      case "stopBatch":
      case "hold":
        return { for: "provider", since };
      default:
        return undefined;
    }
  }

  #hasCalled(verdict: Verdict): boolean {
    return verdict.kind === "retry" || ("sentAt" in verdict && verdict.sentAt !== undefined);
  }

  #describe(verdict: Verdict, payload: CompletionPayload): void {
    const { job, jobId, queue } = this.#attempt;
    const { provider, model, requestId, tenant, batch, workflow, conversation, fallbacks } = payload;
    const span = this.#span;
    if (!span.isRecording()) return;
    setSpanAttributes(
      {
        "gluellm.job.id": jobId,
        "gluellm.queue": queue.name,
        "gluellm.model": modelRef(provider.entry, model).key,
        "gluellm.attempts": job.attemptsMade + 1,
        "gluellm.request.id": requestId,
        "gluellm.tenant": tenant,
        "gluellm.batch.id": batch?.id,
        "gluellm.batch.line": batch?.line,
        "gluellm.run.id": workflow?.runId,
        "gluellm.step": workflow?.step,
        "gluellm.fallbacks": fallbacks?.length,
        "gen_ai.conversation.id": conversation?.id,
        "mlflow.spanType": "CHAIN",
        ...(verdict.kind === "done" && recordAttributes(verdict.record)),
      },
      span,
    );
    if (verdict.kind === "fail") markFailed(span, verdict.error);
  }
}

function recordAttributes({ status, tokens, costUsd, turns, fromCache }: ResultRecord) {
  return {
    "gluellm.status": status,
    "gluellm.turns": turns,
    "gluellm.from_cache": fromCache,
    "llm.tokens.total": tokens.total,
    "llm.cost.usd": costUsd ?? undefined,
  };
}

function waitingOf({ progress }: Job): Waiting | undefined {
  return (Object(progress) as { waiting?: Waiting }).waiting;
}

/** Since when the first attempt waited; undefined at later ones. */
function queuedAt({ timestamp, opts, attemptsStarted, attemptsMade }: Job): number | undefined {
  return attemptsStarted <= 1 && attemptsMade === 0 ? timestamp + (opts.delay ?? 0) : undefined;
}
