import type { Job, Queue } from "bullmq";
import type { ConcurrencyController } from "../limits/concurrency-controller.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import { errorRecordSchema, fromErrorRecord, toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import type { JobJournal } from "../store/job-journal.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import { toldText } from "../store/past-contents.ts";
import type { Store } from "../store/store.ts";
import type { JobClass } from "../telemetry/metrics.ts";
import type { WaitReason } from "../telemetry/tracing.ts";
import type { WorkerContext } from "./context.ts";

/** One try of a worker at a job. */
export interface Attempt extends ActiveJob {
  context: WorkerContext;
  queue: Queue;
  /** Aborts with `signal`, and when the job's batch ended or the process drains: it goes back unless its call has begun. */
  beforeCall: AbortSignal;
  /** Makes sure that no other worker has had the job. @throws FencedError */
  assertHeld: () => Promise<void>;
  controller: ConcurrencyController;
  logger: Logger;
}

/** An attempt at one of the job's models; filled in as it goes on. */
export interface ModelAttempt {
  payload: CompletionPayload;
  model: ModelRef;
  /** Of a job that may take several calls, once it is read. */
  journal: JobJournal | undefined;
  timing: CallTiming;
}

/** When things happened, by `performance.now()`; filled in as they do. */
export interface CallTiming {
  /** The latest provider call was sent. */
  sentAt?: number;
  /** It brought an answer that cannot be used, and is paid. */
  lost?: LostCall | undefined;
}

/** Since when a job waits, and for what: kept with the job from attempt to attempt where there are traces. */
export interface Waiting {
  for: WaitReason;
  /** Epoch milliseconds. */
  since: number;
}

/** A paid call whose answer cannot be used. */
export type LostCall = Pick<FinishedCall, "tokens" | "costUsd" | "latencyMs">;

/** Returns the time from which on the job might begin, in epoch milliseconds. */
export function dueAt({ timestamp, opts }: Job): number {
  return timestamp + (opts.delay ?? 0);
}

/** Returns what kind of job it is, for metrics. */
export function jobClassOf({ batch, workflow }: Pick<CompletionPayload, "batch" | "workflow">): JobClass {
  if (batch) return "batch";
  return workflow ? "workflow" : "interactive";
}

/** Returns the paid calls of a job so far whose answers could not be used. */
export function lostCalls({ progress }: Job): LostCall[] {
  return (progress as { lost?: LostCall[] } | undefined)?.lost ?? [];
}

/** What every change of a job's progress keeps. */
export function keptProgress(job: Job): { lost: LostCall[]; slept: unknown; fault: unknown } {
  const { slept, fault } = Object(job.progress) as Record<string, unknown>;
  return { lost: lostCalls(job), slept, fault };
}

/** Notes what an attempt failed with, for the job's end where its time runs out before the next one. */
export async function noteFault(job: Job, store: Store, error: GlueError): Promise<void> {
  const { type, code, category, message, status } = toErrorRecord(error);
  const fault = { type, code, category, status, message: toldText(store, message) };
  await job.updateProgress({ ...Object(job.progress), fault });
}

/** Returns what the job's last attempt failed with; undefined when none has. */
export function lastFault({ progress }: Job): GlueError | undefined {
  const stored = errorRecordSchema.safeParse((Object(progress) as { fault?: unknown }).fault);
  return stored.success ? fromErrorRecord(stored.data) : undefined;
}

/** The code of a fault that may end no second attempt of the job, once one has ended so. */
export function lastingFault({ progress }: Job): string | undefined {
  return (progress as { failed?: string } | undefined)?.failed;
}

/** Why the job was put back last: a fault's code and message, or a reason in words; "" when it never was. */
export function waitsFor({ progress }: Job): string {
  return (progress as { waitsFor?: string } | undefined)?.waitsFor ?? "";
}
