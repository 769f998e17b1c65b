import type { GuardrailReport } from "../shared/guardrail.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { FleetGauge, ProcessGauge } from "./metrics-catalog.ts";

/** A call of a provider that has ended. */
export interface EndedCall {
  entry: string;
  model: string;
  agent: string | undefined;
  tenant: string | undefined;
  status: "succeeded" | "failed";
  /** Of the error; empty on success. */
  code: string;
  durationMs: number;
  /** Until the first piece of a streamed answer. */
  firstPieceMs: number | undefined;
  /** What it charged; undefined: nothing, as far as is known. */
  tokens: TokenUse | undefined;
  /** Null when nobody knows the price. */
  costUsd: number | null;
}

/** A job that has its end, whatever its kind. */
export interface EndedJob {
  queue: string;
  class: JobClass;
  status: "succeeded" | "failed" | "cancelled";
  /** Of the error; empty on success. */
  code: string;
  agent: string | undefined;
  /** Of a job of a model; activities do not tell theirs. */
  tenant?: string | undefined;
  /** Epoch milliseconds at which it might begin, its latest attempt began, and now. */
  dueAt: number;
  startedAt: number;
  endedAt: number;
}

export type JobClass = "interactive" | "batch" | "workflow" | "activity";

/** A value of a gauge. */
interface Reading<Name extends string> {
  name: Name;
  labels: Record<string, string>;
  value: number;
}
export type FleetReading = Reading<FleetGauge>;
export type ProcessReading = Reading<ProcessGauge>;

/**
 * What the parts of a process tell of their work, as they go. It is only there when somebody asked for metrics: each place calls
 * `metrics?.…`, which costs nothing without.
 */
export interface Metrics {
  callEnded(call: EndedCall): void;
  budgetWaited(entry: string, model: string, waitedMs: number): void;
  cacheAsked(kind: "response" | "similar" | "function", outcome: "hit" | "miss" | "shared"): void;
  paidCallsReused(reason: "record" | "journal", calls: number): void;
  jobBegan(queue: string, jobClass: JobClass, waitedMs: number): void;
  attemptEnded(queue: string, verdict: string): void;
  jobEnded(job: EndedJob): void;
  guardrailAsked(report: GuardrailReport): void;
  toolEnded(tool: string, status: "succeeded" | "failed", durationMs: number): void;
  runEnded(workflow: string, status: string, durationMs: number): void;
  stepAsked(workflow: string, kind: string): void;
  httpEnded(method: string, route: string, status: number, durationMs: number): void;
  /** Adds what is read when somebody asks, until it is disposed of. */
  follow(read: () => ProcessReading[]): Disposable;
  /** Returns what the process counted, in Prometheus' text format. */
  text(): Promise<string>;
  /** Returns the same as objects. */
  values(): Promise<MetricValues[]>;
}

/** One instrument with all its series. */
export interface MetricValues {
  name: string;
  help: string;
  type: string;
  values: { labels: Record<string, string | number>; value: number; metricName?: string }[];
}
