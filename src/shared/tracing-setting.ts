import type { z } from "zod";
import { optionalSecret, Secret } from "./secret.ts";
import type { settingsSchema } from "./settings-schema.ts";

type Values = z.infer<typeof settingsSchema>;

/** The traces. */
export interface TracingSettings {
  enabled: boolean;
  /** Of a collector, without `/v1/traces`; undefined: OpenTelemetry's default, unless there is an MLflow. */
  endpoint: string | undefined;
  /** Sent to the collector. */
  headers: Readonly<Record<string, Secret>>;
  serviceName: string;
  /** The share of traces that are kept, from 0 to 1. */
  sampleRatio: number;
  /** Whether spans have prompts, answers, arguments and results. */
  content: boolean;
  /** Where people look at a trace; `{traceId}` stands for its id. */
  url: string | undefined;
  mlflow: { trackingUri: string | undefined; experimentName: string; token: Secret | undefined };
}

export function tracingSettings(values: Values): TracingSettings {
  return {
    enabled: values.ENABLE_TRACING,
    endpoint: values.OTEL_EXPORTER_OTLP_ENDPOINT,
    headers: Object.fromEntries(
      Object.entries(values.OTEL_EXPORTER_OTLP_HEADERS ?? {}).map(([name, value]) => [
        name,
        new Secret(value),
      ]),
    ),
    serviceName: values.OTEL_SERVICE_NAME,
    sampleRatio: values.TRACING_SAMPLE_RATIO,
    content: values.TRACING_CONTENT,
    url: values.TRACE_URL,
    mlflow: {
      trackingUri: values.MLFLOW_TRACKING_URI,
      experimentName: values.MLFLOW_EXPERIMENT_NAME,
      token: optionalSecret(values.MLFLOW_TRACKING_TOKEN),
    },
  };
}
