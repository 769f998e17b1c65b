import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { EndedCall, EndedJob, JobClass, Metrics, MetricValues, ProcessReading } from "./metrics.ts";
import {
  INSTRUMENTS,
  type Instrument,
  type InstrumentName,
  type Labels,
  PROCESS_GAUGES,
} from "./metrics-catalog.ts";
import { LabelCaps } from "./metrics-labels.ts";
import { OtelMirror } from "./metrics-otel.ts";

const MAX_SERIES = 5000;

/** What was counted of some labels since somebody asked. */
interface Series {
  name: InstrumentName;
  labels: Labels;
  pending: number;
}

/** Counts in Prometheus' registry, and at OpenTelemetry's meter when a meter provider is registered. */
export class MetricsRegistry implements Metrics {
  readonly #registry = new Registry();
  readonly #caps = new LabelCaps();
  readonly #counters = new Map<string, Counter>();
  readonly #histograms = new Map<string, Histogram>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #readers = new Set<() => ProcessReading[]>();
  readonly #series = new Map<string, Series>();
  #otel: OtelMirror | undefined;

  constructor() {
    const registers = [this.#registry];
    for (const [name, { help, labels, ...rest }] of Object.entries<Instrument>(INSTRUMENTS)) {
      const options = { name, help, labelNames: [...labels], registers };
      if (rest.kind === "counter") this.#counters.set(name, new Counter(options));
      else {
        const buckets = [...(rest.buckets ?? [])];
        this.#histograms.set(name, new Histogram({ ...options, buckets }));
      }
    }
    for (const [name, { help, labels }] of Object.entries(PROCESS_GAUGES))
      this.#gauges.set(name, new Gauge({ name, help, labelNames: [...labels], registers }));
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Tells OpenTelemetry's meter too, once a meter provider is registered. */
  followMeter(): this {
    this.#otel ??= OtelMirror.open();
    return this;
  }

  callEnded(call: EndedCall): void {
    const { entry: provider, model, status, code, durationMs, firstPieceMs, tokens, costUsd } = call;
    const { agent = "", tenant = "default" } = call;
    this.#count("gluellm_provider_requests_total", { provider, model, agent, status, code });
    this.#observe("gluellm_provider_request_duration_seconds", { provider, model, status }, durationMs);
    if (firstPieceMs !== undefined)
      this.#observe("gluellm_time_to_first_token_seconds", { provider, model }, firstPieceMs);
    this.#otel?.tokensUsed({ provider, model, tokens });
    if (!tokens) return;
    const kinds = { input: tokens.prompt, output: tokens.completion, cached: tokens.cached };
    for (const [kind, used] of Object.entries(kinds))
      if (used > 0) this.#count("gluellm_tokens_total", { provider, model, agent, kind }, used);
    if (costUsd === null) this.#count("gluellm_unpriced_calls_total", { provider, model });
    else if (costUsd > 0) this.#count("gluellm_cost_usd_total", { provider, model, agent, tenant }, costUsd);
  }

  budgetWaited(provider: string, model: string, waitedMs: number): void {
    // Without a budget nobody waits.
    if (waitedMs === 0) return;
    this.#observe("gluellm_budget_wait_seconds", { provider, model }, waitedMs);
  }

  cacheAsked(kind: "response" | "function", outcome: "hit" | "miss" | "shared"): void {
    this.#count("gluellm_cache_requests_total", { kind, outcome });
  }

  paidCallsReused(reason: "record" | "journal", calls: number): void {
    if (calls > 0) this.#count("gluellm_paid_calls_reused_total", { reason }, calls);
  }

  jobBegan(queue: string, jobClass: JobClass, waitedMs: number): void {
    this.#observe("gluellm_job_wait_seconds", { queue, class: jobClass }, waitedMs);
  }

  attemptEnded(queue: string, verdict: string): void {
    this.#count("gluellm_job_attempts_total", { queue, verdict });
  }

  jobEnded({ queue, class: jobClass, status, code, agent, dueAt, startedAt, endedAt }: EndedJob): void {
    this.#count("gluellm_jobs_total", { queue, class: jobClass, status, code });
    this.#observe("gluellm_job_duration_seconds", { queue, class: jobClass, status }, endedAt - dueAt);
    if (agent === undefined) return;
    this.#count("gluellm_agent_executions_total", { agent, status });
    this.#observe("gluellm_agent_duration_seconds", { agent, status }, endedAt - startedAt);
  }

  toolEnded(tool: string, status: "succeeded" | "failed", durationMs: number): void {
    this.#count("gluellm_tool_calls_total", { tool, status });
    this.#observe("gluellm_tool_duration_seconds", { tool, status }, durationMs);
  }

  runEnded(workflow: string, status: string, durationMs: number): void {
    this.#count("gluellm_workflow_executions_total", { workflow, status });
    this.#observe("gluellm_workflow_duration_seconds", { workflow, status }, durationMs);
  }

  stepAsked(workflow: string, kind: string): void {
    this.#count("gluellm_workflow_steps_total", { workflow, kind });
  }

  httpEnded(method: string, route: string, status: number, durationMs: number): void {
    this.#count("gluellm_http_requests_total", { method, route, status: String(status) });
    this.#observe("gluellm_http_request_duration_seconds", { method, route }, durationMs);
  }

  follow(read: () => ProcessReading[]): Disposable {
    this.#readers.add(read);
    return { [Symbol.dispose]: () => this.#readers.delete(read) };
  }

  text(): Promise<string> {
    this.#read();
    return this.#registry.metrics();
  }

  async values(): Promise<MetricValues[]> {
    this.#read();
    return (await this.#registry.getMetricsAsJSON()) as unknown as MetricValues[];
  }

  #read(): void {
    this.#flush();
    for (const gauge of this.#gauges.values()) gauge.reset();
    for (const read of this.#readers)
      for (const { name, labels, value } of read())
        this.#gauges.get(name)?.inc(this.#caps.cap(labels), value);
  }

  /** Added up here until somebody asks: prom-client takes some microseconds for each. */
  #count(name: InstrumentName, labels: Labels, by = 1): void {
    const series = this.#seriesOf(name, labels);
    series.pending += by;
    this.#otel?.add(name, series.labels, by);
  }

  #observe(name: InstrumentName, labels: Labels, ms: number): void {
    const { labels: capped } = this.#seriesOf(name, labels);
    const seconds = Math.max(0, ms) / 1000;
    this.#histograms.get(name)?.observe(capped as Record<string, string>, seconds);
    this.#otel?.add(name, capped, seconds);
  }

  #seriesOf(name: InstrumentName, labels: Labels): Series {
    let key: string = name;
    for (const label in labels) key += `\n${labels[label]}`;
    const known = this.#series.get(key);
    if (known) return known;
    // Values that are too many have keys of their own, too.
    if (this.#series.size >= MAX_SERIES) this.#flush();
    const series = { name, labels: this.#caps.cap(labels), pending: 0 };
    this.#series.set(key, series);
    return series;
  }

  #flush(): void {
    for (const { name, labels, pending } of this.#series.values())
      if (pending > 0) this.#counters.get(name)?.inc(labels as Record<string, string>, pending);
    this.#series.clear();
  }
}
