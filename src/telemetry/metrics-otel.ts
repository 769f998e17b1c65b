import { type Attributes, createNoopMeter, type Meter, metrics } from "@opentelemetry/api";
import type { TokenUse } from "../shared/token-use.ts";
import type { ProcessReading } from "./metrics.ts";
import {
  INSTRUMENTS,
  type Instrument,
  type InstrumentName,
  type Labels,
  PROCESS_GAUGES,
} from "./metrics-catalog.ts";

/** The attribute of the GenAI conventions that says what a label of ours says. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  provider: "gen_ai.provider.name",
  model: "gen_ai.request.model",
  agent: "gen_ai.agent.name",
  tool: "gen_ai.tool.name",
  code: "error.type",
};
/** What the conventions call a provider that we name otherwise. */
const PROVIDERS: Readonly<Record<string, string>> = { xai: "x_ai", google: "gcp.gemini" };

type Adding = (value: number, attributes: Attributes) => void;

/** Returns what is read off the process now. */
type Read = () => ProcessReading[];

/**
 * The same instruments at OpenTelemetry's meter: `gen_ai.*` where the conventions have one, else `gluellm.*`. The gauges of the fleet are
 * not among them: each process would tell the same.
 */
export class OtelMirror {
  readonly #adding: ReadonlyMap<string, Adding>;

  private constructor(meter: Meter, read: Read) {
    const ours = Object.entries<Instrument>(INSTRUMENTS).map(([name, instrument]) => {
      const { kind, help: description, buckets = [], otel = dotted(name) } = instrument;
      if (kind === "counter") return [name, counterOf(meter, otel, description)] as const;
      const options = { description, unit: "s", advice: { explicitBucketBoundaries: [...buckets] } };
      const histogram = meter.createHistogram(otel, options);
      return [name, (value: number, attributes: Attributes) => histogram.record(value, attributes)] as const;
    });
    const usage = Object.values(USAGE).map((name) => [name, counterOf(meter, name, "Tokens used.")] as const);
    this.#adding = new Map<string, Adding>([...ours, ...usage]);
    observe(meter, read);
  }

  /** Undefined when no meter provider is registered. */
  static open(read: Read): OtelMirror | undefined {
    return hasMeterProvider() ? new OtelMirror(metrics.getMeter("gluellm"), read) : undefined;
  }

  add(name: InstrumentName, labels: Labels, value: number): void {
    this.#adding.get(name)?.(value, attributesOf(labels));
  }

  tokensUsed(call: { provider: string; model: string; tokens: TokenUse | undefined }): void {
    const { provider, model, tokens } = call;
    if (!tokens) return;
    const attributes = { ...attributesOf({ provider, model }), "gen_ai.token.modality": "unknown" };
    const used = {
      input: tokens.prompt,
      output: tokens.completion,
      cacheRead: tokens.cached,
      cacheWrite: tokens.cacheWritten ?? 0,
    };
    for (const [kind, name] of Object.entries(USAGE)) {
      const value = used[kind as keyof typeof USAGE];
      if (value > 0) this.#adding.get(name)?.(value, attributes);
    }
  }
}

const USAGE = {
  input: "gen_ai.client.inference.usage.input_tokens",
  output: "gen_ai.client.inference.usage.output_tokens",
  cacheRead: "gen_ai.client.inference.usage.cache_read.input_tokens",
  cacheWrite: "gen_ai.client.inference.usage.cache_write.input_tokens",
} as const;

/** True when the program has registered a provider, of which it gets what is counted. */
export function hasMeterProvider(): boolean {
  return metrics.getMeter("gluellm") !== createNoopMeter();
}

/** Several workers of a process are one. */
function observe(meter: Meter, read: Read): void {
  const gauges = Object.entries(PROCESS_GAUGES).map(
    ([name, { help: description }]) =>
      [name, meter.createObservableGauge(dotted(name), { description })] as const,
  );
  const byName = new Map<string, (typeof gauges)[number][1]>(gauges);
  meter.addBatchObservableCallback(
    (observer) => {
      const series = Map.groupBy(read(), ({ name, labels }) => `${name}${JSON.stringify(labels)}`);
      for (const [first, ...more] of series.values()) {
        const gauge = first && byName.get(first.name);
        const value = more.reduce((sum, reading) => sum + reading.value, first?.value ?? 0);
        if (gauge) observer.observe(gauge, value, attributesOf(first.labels));
      }
    },
    [...byName.values()],
  );
}

function counterOf(meter: Meter, name: string, description: string): Adding {
  const counter = meter.createCounter(name, { description });
  return (value, attributes) => counter.add(value, attributes);
}

/** `gluellm_jobs_total` → `gluellm.jobs`; units are no part of a name there. */
function dotted(name: string): string {
  return name.replace(/_(total|seconds)$/, "").replace("gluellm_", "gluellm.");
}

function attributesOf(labels: Labels): Attributes {
  const attributes: Attributes = {};
  for (const [label, value] of Object.entries(labels)) {
    if (value === "") continue;
    const name = ATTRIBUTES[label] ?? `gluellm.${label}`;
    attributes[name] = label === "provider" ? (PROVIDERS[value] ?? value) : value;
  }
  return attributes;
}
