import { z } from "zod";
import { auditVariables } from "./audit-setting.ts";
import { MAX_CACHE_TTL_SECONDS } from "./cache-option.ts";
import { MAX_QUEUES, QUEUE_DEFAULTS } from "./catalog.ts";
import { CONVERSATION_TTL_SECONDS } from "./conversation.ts";
import { deploymentsSchema } from "./deployments.ts";
import { encryptionVariables } from "./encryption-setting.ts";
import { fileStoreVariables } from "./file-store-setting.ts";
import { HISTORY_CONTENTS, historyRetentionVariables } from "./history-setting.ts";
import { limitsSchema } from "./limits-setting.ts";
import { LOG_LEVELS } from "./log-level.ts";
import { metricsVariables } from "./metrics-settings.ts";
import { pricesSchema } from "./prices-setting.ts";
import { PROFILES, type ProfileName } from "./profiles.ts";
import { redactionVariables } from "./redact.ts";
import { isGroupUrl, readGroupUrl } from "./redis-url.ts";
import { ERROR_COUNT_TTL_SECONDS, RESULT_TTL_SECONDS, RUN_TTL_SECONDS } from "./retention.ts";
import { SEMANTIC_MODES } from "./semantic-setting.ts";
import { booleanText, integer, numberFrom, seconds, share } from "./setting-types.ts";
import { addresses, ssoVariables } from "./sso-setting.ts";
import { type AllowedRanges, isRange } from "./webhook-ranges.ts";

/** A file's name, which names no folder. */
export const LOG_FILE_NAME = /^(?!\.{1,2}$)[^/\\\0]{1,200}$/;

/** Who waits for a result, or writes the next message, has at least so long. */
const MIN_RETENTION_SECONDS = 60;

/** Seconds that can only be made fewer. */
function wholeUpTo(max: number, min = 0) {
  return integer(min, max).default(max);
}

/** JSON in a variable, checked against a schema. */
export function jsonText<T extends z.ZodType>(schema: T) {
  return z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue("is not valid JSON");
        return z.NEVER;
      }
    })
    .pipe(schema);
}

const list = z.string().transform((text) =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean),
);

/** `true`, `false`, or ranges of addresses. */
const allowedRanges = list.transform((items, context): AllowedRanges => {
  const isAll = booleanText.safeParse(items.length === 1 ? items[0] : undefined);
  if (isAll.success) return isAll.data ? "all" : [];
  for (const item of items)
    if (!isRange(item))
      context.addIssue(`must be true, false or ranges such as 10.0.0.0/8; ${JSON.stringify(item)} is none`);
  return items;
});

const redisUrl = z
  .string()
  .regex(
    /^(rediss?(\+sentinel|\+cluster)?|unix):\/\//,
    "must start with redis://, rediss://, redis+sentinel://, redis+cluster:// or unix:///",
  )
  .superRefine((text, context) => {
    const group = isGroupUrl(text) ? readGroupUrl(text) : undefined;
    if (typeof group === "string") context.addIssue(group);
    else if (!group && !URL.canParse(text))
      context.addIssue("is not a URL; write redis://[user:password@]host[:port][/database]");
  });

const logLevel = z.preprocess(
  (text) => (typeof text === "string" ? text.toLowerCase().replace("warning", "warn") : text),
  z.enum(LOG_LEVELS),
);

const httpUrl = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol),
    "must be an http or https URL",
  );

/** `name=value,name=value`, values percent-encoded, as OpenTelemetry writes it. */
const headerList = z.string().transform((text, context) => {
  const pairs = list.parse(text).map((pair) => /^([\w!#$%&'*+.^`|~-]+)\s*=\s*(.*)$/.exec(pair));
  try {
    if (pairs.every((pair) => pair !== null))
      return Object.fromEntries(pairs.map(([, name = "", value = ""]) => [name, decodeURIComponent(value)]));
  } catch {
    // What follows says it.
  }
  context.addIssue("must be name=value, several separated by commas, values percent-encoded");
  return z.NEVER;
});

const databaseUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, "must start with postgres:// or postgresql://")
  // A server on a socket has no host there: postgres://user@/database?host=/var/run/postgresql
  .refine(
    (text) => URL.canParse(text.replace(/@\//, "@localhost/")),
    "is not a URL; write postgres://user:password@host/database",
  );

/** Every variable without its `GLUELLM_` prefix, with its default. */
export const settingsSchema = z.object({
  NAMESPACE: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, - or _")
    .default("default"),
  DATA_DIR: z.string().optional(),
  REDIS_URL: redisUrl.optional(),
  DEFAULT_MODEL: z.string().default("openai:gpt-4o-mini"),
  DEFAULT_SYSTEM_PROMPT: z.string().optional(),
  MAX_TOOL_ITERATIONS: integer(1, 1000).optional(),
  ALLOWED_MODELS: list.default([]),
  DEPLOYMENTS: jsonText(deploymentsSchema).default({}),
  LIMITS: jsonText(limitsSchema).default({}),
  PRICES: jsonText(pricesSchema).default({}),
  RATE_LIMIT_ENABLED: booleanText.optional(),
  RATE_LIMIT_MAX_CALLS: integer(1, 1_000_000_000).optional(),
  RATE_LIMIT_PERIOD: seconds(0.001, 86_400).optional(),
  LEARN_LIMITS: booleanText.default(true),
  PROFILE: z.enum(Object.keys(PROFILES) as [ProfileName, ...ProfileName[]]).default("balanced"),
  RETRY_MAX_ATTEMPTS: integer(1, 1000).optional(),
  MAX_RETRIES: integer(0, 999).optional(),
  RETRY_MIN_WAIT: seconds(0, 86_400).optional(),
  RETRY_INITIAL_WAIT: seconds(0, 86_400).optional(),
  RETRY_MAX_WAIT: seconds(0, 86_400).default(30),
  RETRY_MULTIPLIER: numberFrom(0.01, 1000).default(1),
  CALL_TIMEOUT_MS: integer(100, 3_600_000).optional(),
  IDLE_TIMEOUT_MS: integer(100, 3_600_000).default(120_000),
  LOCK_MS: integer(1000, 300_000).default(10_000),
  ENABLE_CIRCUIT_BREAKER: booleanText.default(true),
  CIRCUIT_BREAKER_FAILURE_RATE: share(0.01).default(0.5),
  CIRCUIT_BREAKER_MIN_CALLS: integer(1, 1_000_000).default(20),
  CIRCUIT_BREAKER_WINDOW_MS: integer(1000, 3_600_000).default(30_000),
  CIRCUIT_BREAKER_COOLDOWN_MS: integer(100, 3_600_000).default(2000),
  CIRCUIT_BREAKER_QUIET_MS: integer(100, 3_600_000).default(60_000),
  CACHE_ENABLED: booleanText.default(true),
  CACHE_TTL: integer(1, MAX_CACHE_TTL_SECONDS).default(3600),
  CACHE_SIZE_LIMIT: integer(1, Number.MAX_SAFE_INTEGER).default(2 ** 30),
  SEMANTIC_CACHE: z.enum(SEMANTIC_MODES).default("off"),
  SEMANTIC_CACHE_MODEL: z.string().optional(),
  SEMANTIC_CACHE_THRESHOLD: share(0).default(0.97),
  SEMANTIC_CACHE_DIMENSIONS: integer(0, 4096).default(256),
  SEMANTIC_CACHE_JUDGE: z.string().optional(),
  WORKER_CONCURRENCY: integer(1, 10_000).optional(),
  MAX_JOBS_IN_TOOLS: integer(1, 100_000).optional(),
  MAX_QUEUES: integer(1, 10_000).default(MAX_QUEUES),
  LANE_POLL_MS: integer(20, 3_600_000).default(30_000),
  LANE_RESERVE_MS: integer(0, 86_400_000).default(900_000),
  RETENTION_COMPLETED: wholeUpTo(QUEUE_DEFAULTS.removeOnComplete.age),
  RETENTION_FAILED: wholeUpTo(QUEUE_DEFAULTS.removeOnFail.age),
  RETENTION_RESULTS: integer(MIN_RETENTION_SECONDS, RESULT_TTL_SECONDS.batchRow).default(
    RESULT_TTL_SECONDS.succeeded,
  ),
  RETENTION_CONVERSATIONS: wholeUpTo(CONVERSATION_TTL_SECONDS, MIN_RETENTION_SECONDS),
  RETENTION_RUNS: wholeUpTo(RUN_TTL_SECONDS, MIN_RETENTION_SECONDS),
  ...historyRetentionVariables,
  HISTORY: booleanText.optional(),
  HISTORY_CONTENT: z.enum(HISTORY_CONTENTS).default("preview"),
  DATABASE_URL: databaseUrl.optional(),
  ...auditVariables,
  ...encryptionVariables,
  ENCRYPTION_DECRYPT_ONLY: booleanText.default(false),
  ...redactionVariables,
  RETENTION_ERRORS: integer(3600, 31 * 86_400).default(ERROR_COUNT_TTL_SECONDS),
  DASHBOARD_HOST: z.string().default("127.0.0.1"),
  DASHBOARD_PORT: integer(0, 65_535).default(3000),
  DASHBOARD_PASSWORD: z.string().min(8, "must have at least 8 characters").optional(),
  DASHBOARD_TRUSTED_PROXIES: addresses.default([]),
  ...ssoVariables,
  API_KEY: z.string().optional(),
  API_HOST: z.string().default("127.0.0.1"),
  API_PORT: integer(0, 65_535).default(4000),
  API_ALLOWED_HOSTS: list.default([]),
  API_CORS_ORIGINS: list.default([]),
  API_DRAIN_MS: integer(0, 3_600_000).default(30_000),
  API_MAX_FILE_BYTES: integer(1, Number.MAX_SAFE_INTEGER).default(200 * 1024 * 1024),
  API_MAX_BATCH_ROWS: integer(1, 10_000_000).default(50_000),
  ...fileStoreVariables,
  ...metricsVariables,
  WEBHOOK_ALLOW_PRIVATE: allowedRanges.default([]),
  WEBHOOK_TIMEOUT_MS: integer(100, 60_000).default(15_000),
  LOG_LEVEL: logLevel.optional(),
  LOG_JSON_FORMAT: booleanText.default(false),
  LOG_DIR: z.string().optional(),
  LOG_FILE_NAME: z
    .string()
    .regex(LOG_FILE_NAME, "must be a file's name without a folder, such as gluellm.log")
    .optional(),
  LOG_FILE_LEVEL: logLevel.optional(),
  LOG_MAX_BYTES: integer(0, Number.MAX_SAFE_INTEGER).default(10 * 1024 * 1024),
  LOG_BACKUP_COUNT: integer(0, 1000).default(5),
  LOG_DAILY: booleanText.default(false),
  LOG_FILE_PER_COMPONENT: booleanText.default(false),
  ENABLE_TRACING: booleanText.default(false),
  OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl.optional(),
  OTEL_EXPORTER_OTLP_HEADERS: headerList.optional(),
  OTEL_SERVICE_NAME: z.string().default("gluellm"),
  MLFLOW_TRACKING_URI: httpUrl.optional(),
  MLFLOW_EXPERIMENT_NAME: z.string().default("Default"),
  MLFLOW_TRACKING_TOKEN: z.string().optional(),
  TRACING_SAMPLE_RATIO: share(0).default(1),
  TRACING_CONTENT: booleanText.default(false),
  TRACE_URL: httpUrl
    .refine((text) => text.includes("{traceId}"), "must have {traceId} in it: https://host/trace/{traceId}")
    .optional(),
  SENTRY_DSN: z.string().refine(URL.canParse, "is not a URL").optional(),
  SENTRY_ENVIRONMENT: z.string().optional(),
});

/** The settings that are read without the prefix too: names the field already uses. */
export const BARE_NAMES: ReadonlySet<string> = new Set([
  "REDIS_URL",
  "DEFAULT_MODEL",
  "DEFAULT_SYSTEM_PROMPT",
  "MAX_TOOL_ITERATIONS",
  "RATE_LIMIT_ENABLED",
  "RATE_LIMIT_MAX_CALLS",
  "RATE_LIMIT_PERIOD",
  "ENABLE_CIRCUIT_BREAKER",
  "CACHE_ENABLED",
  "CACHE_TTL",
  "CACHE_SIZE_LIMIT",
  "RETRY_MAX_ATTEMPTS",
  "RETRY_MIN_WAIT",
  "RETRY_MAX_WAIT",
  "RETRY_MULTIPLIER",
  "MAX_RETRIES",
  "RETRY_INITIAL_WAIT",
  "ENABLE_METRICS_SERVER",
  "METRICS_PORT",
  "LOG_LEVEL",
  "LOG_JSON_FORMAT",
  "LOG_DIR",
  "LOG_FILE_NAME",
  "LOG_FILE_LEVEL",
  "LOG_MAX_BYTES",
  "LOG_BACKUP_COUNT",
  "ENABLE_TRACING",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_SERVICE_NAME",
  "MLFLOW_TRACKING_URI",
  "MLFLOW_EXPERIMENT_NAME",
  "MLFLOW_TRACKING_TOKEN",
  "SENTRY_DSN",
  "SENTRY_ENVIRONMENT",
]);
