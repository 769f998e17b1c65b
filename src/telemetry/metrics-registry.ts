import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from "prom-client";
import type { GuardrailReport } from "../shared/guardrail.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { Histogram, type Observed } from "./histogram.ts";
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

/**
 * What was counted of some labels since somebody asked. It is added up here: prom-client takes some microseconds for each, and several of
 * them for the labels alone.
 */
interface Series {
  name: InstrumentName;
  labels: Labels;
  /** What is to be added; of a histogram, how many values. */
  pending: number;
  observed: Observed | undefined;
}

/** The series of calls that are alike; one look finds them all. Nobody sees those in which nothing is counted. */
interface CallSeries {
  requests: Series;
  duration: Series;
  firstPiece: Series;
  input: Series;
  output: Series;
  cached: Series;
  unpriced: Series;
  cost: Series;
}
const SERIES_OF_A_CALL = 8;

/** Counts in Prometheus' registry, and at OpenTelemetry's meter when a meter provider is registered. */
export class MetricsRegistry implements Metrics {
  readonly #registry = new Registry();
  readonly #caps = new LabelCaps();
  readonly #counters = new Map<string, Counter>();
  readonly #histograms = new Map<string, Histogram>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #readers = new Set<() => ProcessReading[]>();
  readonly #series = new Map<string, Series>();
  readonly #calls = new Map<string, CallSeries>();
  #otel: OtelMirror | undefined;

  constructor() {
    const registers = [this.#registry];
    for (const [name, { help, labels, ...rest }] of Object.entries<Instrument>(INSTRUMENTS)) {
      const options = { name, help, labelNames: [...labels], registers };
      if (rest.kind === "counter") this.#counters.set(name, new Counter(options));
      else {
        const histogram = new Histogram(name, help, rest.buckets ?? []);
        this.#registry.registerMetric(histogram as unknown as Metric);
        this.#histograms.set(name, histogram);
      }
    }
    for (const [name, { help, labels }] of Object.entries(PROCESS_GAUGES))
      this.#gauges.set(name, new Gauge({ name, help, labelNames: [...labels], registers }));
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Tells OpenTelemetry's meter too, once a meter provider is registered. */
  followMeter(): this {
    this.#otel ??= OtelMirror.open(() => [...this.#readers].flatMap((read) => read()));
    return this;
  }

  callEnded(call: EndedCall): void {
    const { entry: provider, model, durationMs, firstPieceMs, tokens, costUsd } = call;
    const series = this.#callsLike(call);
    this.#add(series.requests, 1);
    this.#observe(series.duration, durationMs);
    if (firstPieceMs !== undefined) this.#observe(series.firstPiece, firstPieceMs);
    if (!tokens) return;
    this.#otel?.tokensUsed({ provider, model, tokens });
    this.#add(series.input, tokens.prompt);
    this.#add(series.output, tokens.completion);
    this.#add(series.cached, tokens.cached);
    if (costUsd === null) this.#add(series.unpriced, 1);
    else this.#add(series.cost, costUsd);
  }

  #callsLike(call: EndedCall): CallSeries {
    const { entry: provider, model, status, code, agent = "", tenant = DEFAULT_TENANT } = call;
    const key = `${provider}\n${model}\n${agent}\n${tenant}\n${status}\n${code}`;
    const known = this.#calls.get(key);
    if (known) return known;
    // Before, and not between them.
    if (this.#series.size + SERIES_OF_A_CALL > MAX_SERIES) this.#flush();
    const of = (name: InstrumentName, labels: Labels) => this.#seriesOf(name, labels);
    const tokens = (kind: string) => of("gluellm_tokens_total", { provider, model, agent, kind });
    const series: CallSeries = {
      requests: of("gluellm_provider_requests_total", { provider, model, agent, status, code }),
      duration: of("gluellm_provider_request_duration_seconds", { provider, model, status }),
      firstPiece: of("gluellm_time_to_first_token_seconds", { provider, model }),
      input: tokens("input"),
      output: tokens("output"),
      cached: tokens("cached"),
      unpriced: of("gluellm_unpriced_calls_total", { provider, model }),
      cost: of("gluellm_cost_usd_total", { provider, model, agent, tenant }),
    };
    this.#calls.set(key, series);
    return series;
  }

  budgetWaited(provider: string, model: string, waitedMs: number): void {
    // Without a budget nobody waits.
    if (waitedMs === 0) return;
    this.#observe(this.#seriesOf("gluellm_budget_wait_seconds", { provider, model }), waitedMs);
  }

  cacheAsked(kind: "response" | "similar" | "function", outcome: "hit" | "miss" | "shared"): void {
    this.#add(this.#seriesOf("gluellm_cache_requests_total", { kind, outcome }), 1);
  }

  paidCallsReused(reason: "record" | "journal", calls: number): void {
    if (calls > 0) this.#add(this.#seriesOf("gluellm_paid_calls_reused_total", { reason }), calls);
  }

  jobBegan(queue: string, jobClass: JobClass, waitedMs: number): void {
    this.#observe(this.#seriesOf("gluellm_job_wait_seconds", { queue, class: jobClass }), waitedMs);
  }

  attemptEnded(queue: string, verdict: string): void {
    this.#add(this.#seriesOf("gluellm_job_attempts_total", { queue, verdict }), 1);
  }

  jobEnded({
    queue,
    class: jobClass,
    status,
    code,
    agent,
    tenant,
    dueAt,
    startedAt,
    endedAt,
  }: EndedJob): void {
    this.#add(this.#seriesOf("gluellm_jobs_total", { queue, class: jobClass, status, code }), 1);
    if (jobClass !== "activity")
      this.#add(this.#seriesOf("gluellm_tenant_jobs_total", { tenant: tenant ?? DEFAULT_TENANT, status }), 1);
    this.#observe(
      this.#seriesOf("gluellm_job_duration_seconds", { queue, class: jobClass, status }),
      endedAt - dueAt,
    );
    if (agent === undefined) return;
    this.#add(this.#seriesOf("gluellm_agent_executions_total", { agent, status }), 1);
    this.#observe(this.#seriesOf("gluellm_agent_duration_seconds", { agent, status }), endedAt - startedAt);
  }

  guardrailAsked({ name: guardrail, stage, action, shadow }: GuardrailReport): void {
    const mode = shadow ? "shadow" : "enforce";
    this.#add(this.#seriesOf("gluellm_guardrail_checks_total", { guardrail, stage, action, mode }), 1);
  }

  toolEnded(tool: string, status: "succeeded" | "failed", durationMs: number): void {
    this.#add(this.#seriesOf("gluellm_tool_calls_total", { tool, status }), 1);
    this.#observe(this.#seriesOf("gluellm_tool_duration_seconds", { tool, status }), durationMs);
  }

  runEnded(workflow: string, status: string, durationMs: number): void {
    this.#add(this.#seriesOf("gluellm_workflow_executions_total", { workflow, status }), 1);
    this.#observe(this.#seriesOf("gluellm_workflow_duration_seconds", { workflow, status }), durationMs);
  }

  stepAsked(workflow: string, kind: string): void {
    this.#add(this.#seriesOf("gluellm_workflow_steps_total", { workflow, kind }), 1);
  }

  httpEnded(method: string, route: string, status: number, durationMs: number): void {
    this.#add(this.#seriesOf("gluellm_http_requests_total", { method, route, status: String(status) }), 1);
    this.#observe(this.#seriesOf("gluellm_http_request_duration_seconds", { method, route }), durationMs);
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

  #add(series: Series, by: number): void {
    if (by <= 0) return;
    series.pending += by;
    this.#otel?.add(series.name, series.labels, by);
  }

  #observe(series: Series, ms: number): void {
    const { name, labels, observed } = series;
    const seconds = Math.max(0, ms) / 1000;
    series.pending += 1;
    if (observed) this.#histograms.get(name)?.observe(observed, seconds);
    this.#otel?.add(name, labels, seconds);
  }

  #seriesOf(name: InstrumentName, labels: Labels): Series {
    let key: string = name;
    for (const label in labels) key += `\n${labels[label]}`;
    const known = this.#series.get(key);
    if (known) return known;
    // Values that are too many have keys of their own, too.
    if (this.#series.size >= MAX_SERIES) this.#flush();
    const observed = this.#histograms.get(name)?.empty();
    const series = { name, labels: this.#caps.cap(labels), pending: 0, observed };
    this.#series.set(key, series);
    return series;
  }

  #flush(): void {
    for (const { name, labels, pending, observed } of this.#series.values()) {
      if (pending === 0) continue;
      if (observed) this.#histograms.get(name)?.add(labels, observed);
      else this.#counters.get(name)?.inc(labels, pending);
    }
    this.#series.clear();
    this.#calls.clear();
  }
}
