import { z } from "zod";
import { booleanText, integer, positiveNumber } from "./setting-types.ts";

/** What is counted, and where it can be read. */
export interface MetricsSettings {
  /** Whether the parts of this process count their work. */
  enabled: boolean;
  /** Whether it is served on an address of its own, and which; a busy port moves to the next free one. */
  hasServer: boolean;
  host: string;
  port: number;
  /** What scrapers show; undefined: who is on this machine needs nothing, and nobody else gets anything. */
  token: string | undefined;
}

/** What the fleet tells when something is wrong, and where to. */
export interface AlertSettings {
  /** The address that alerts are posted to; undefined: none are judged. */
  webhook: string | undefined;
  /** The share of the jobs that end in ten minutes that may fail. */
  failureRate: number;
  /** What may be spent in an hour and in a day, in USD; undefined: no alert. */
  hourUsd: number | undefined;
  dayUsd: number | undefined;
  /** How long jobs of a queue may wait while none of them begins or ends. */
  stuckMs: number;
  breakerMs: number;
  /** An alert is not told again for so long. */
  repeatMs: number;
}

const minutes = (standard: number) => integer(1, 10_080).default(standard);

export const metricsVariables = {
  ENABLE_METRICS: booleanText.default(false),
  ENABLE_METRICS_SERVER: booleanText.default(false),
  METRICS_HOST: z.string().default("127.0.0.1"),
  METRICS_PORT: integer(0, 65_535).default(8000),
  METRICS_TOKEN: z.string().min(16, "must have at least 16 characters").optional(),
  ALERT_WEBHOOK: z
    .string()
    .refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ""), "must be an http or https address")
    .optional(),
  ALERT_FAILURE_RATE: positiveNumber(1).default(0.25),
  ALERT_SPEND_PER_HOUR: positiveNumber(1_000_000_000).optional(),
  ALERT_SPEND_PER_DAY: positiveNumber(1_000_000_000).optional(),
  ALERT_STUCK_MINUTES: minutes(10),
  ALERT_BREAKER_MINUTES: minutes(5),
  ALERT_REPEAT_MINUTES: minutes(60),
};
const schema = z.object(metricsVariables);
type Values = z.infer<typeof schema>;

export function metricsSettings(values: Values): MetricsSettings {
  return {
    enabled: values.ENABLE_METRICS || values.ENABLE_METRICS_SERVER,
    hasServer: values.ENABLE_METRICS_SERVER,
    host: values.METRICS_HOST,
    port: values.METRICS_PORT,
    token: values.METRICS_TOKEN,
  };
}

export function alertSettings(values: Values): AlertSettings {
  return {
    webhook: values.ALERT_WEBHOOK,
    failureRate: values.ALERT_FAILURE_RATE,
    hourUsd: values.ALERT_SPEND_PER_HOUR,
    dayUsd: values.ALERT_SPEND_PER_DAY,
    stuckMs: values.ALERT_STUCK_MINUTES * 60_000,
    breakerMs: values.ALERT_BREAKER_MINUTES * 60_000,
    repeatMs: values.ALERT_REPEAT_MINUTES * 60_000,
  };
}
