import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { z } from "zod";
import { type AuditSettings, auditSettings } from "./audit-setting.ts";
import type { Deployments } from "./deployments.ts";
import type { EncryptionSettings } from "./encryption-setting.ts";
import type { Variables } from "./env-file.ts";
import { fileStoreSetting, type S3Place } from "./file-store-setting.ts";
import { type HistorySettings, historyMaxRows, historyRetentionMs } from "./history-setting.ts";
import { type Limits, withSimpleLimit } from "./limits-setting.ts";
import { type LogFileSettings, logFileSettings } from "./log-file-setting.ts";
import type { LogLevel } from "./log-level.ts";
import {
  type AlertSettings,
  alertSettings,
  type MetricsSettings,
  metricsSettings,
} from "./metrics-settings.ts";
import type { Prices } from "./prices-setting.ts";
import type { ProfileName } from "./profiles.ts";
import type { ProviderEntry } from "./providers.ts";
import type { RedactionSettings } from "./redact.ts";
import type { Retention } from "./retention.ts";
import { optionalSecret, Secret } from "./secret.ts";
import { type SemanticSettings, semanticSettings } from "./semantic-setting.ts";
import type { settingsSchema } from "./settings-schema.ts";
import { type SsoRules, ssoRules } from "./sso-setting.ts";
import { cacheHome, projectFolder, proxyVariables } from "./system-places.ts";
import { type TracingSettings, tracingSettings } from "./tracing-setting.ts";
import type { AllowedRanges } from "./webhook-ranges.ts";

type Values = z.infer<typeof settingsSchema>;

const DEFAULT_MIN_WAIT = 2;

/** Everything configurable, read once at start and frozen. */
export interface Settings {
  /** The name under which everything lies in Redis; jobs of two namespaces never meet. */
  namespace: string;
  /** The folder of the embedded Redis. */
  dataDir: string;
  /** The address of a Redis; undefined: the embedded one. */
  redisUrl: string | undefined;
  /** The model of calls that name none, as `provider:model`. */
  defaultModel: string;
  /** The system prompt of a client's calls where neither the client nor the call has one; undefined: none. */
  defaultSystemPrompt: string | undefined;
  /** The most answers with tool calls of a client's calls that say nothing of it; undefined: 10. */
  maxToolIterations: number | undefined;
  /** By their name: models that are alike, of which a call goes to the freest. */
  deployments: Deployments;
  /** The provider entries by name. */
  providers: Readonly<Record<string, ProviderEntry>>;
  /** Patterns of models that neither the price list nor the limits know. */
  allowedModels: readonly string[];
  /** The budgets by model pattern. */
  limits: Readonly<Limits>;
  /** Whether the limits that a provider's answers state are kept, beside those configured. */
  learnLimits: boolean;
  /** USD of models that the price list does not know, or not rightly. */
  prices: Readonly<Prices>;
  profile: ProfileName;
  retry: {
    maxAttempts: number | undefined;
    minWaitMs: number;
    maxWaitMs: number;
    /** By which the waits between are multiplied; default 1. */
    multiplier?: number | undefined;
  };
  /** The longest provider call; undefined: the job catalog's. */
  callTimeoutMs: number | undefined;
  /** The longest time without a byte of a streamed answer. */
  idleTimeoutMs: number;
  /** The time for which a worker that says nothing keeps its jobs; others take them up after at most 1.5 times that. */
  lockMs: number;
  /** The most jobs at a time from each queue, per worker process; undefined: the profile's. */
  workerConcurrency: number | undefined;
  /** The most jobs of a worker process whose tools run, beside those that call a provider; undefined: the profile's. */
  maxJobsInTools: number | undefined;
  /** How many queues of models may have jobs at a time in the namespace. */
  maxQueues: number;
  /** How often a provider is asked how its batch stands. */
  lanePollMs: number;
  /** The least that is kept of a batch's time beside what its rows take online: the end of provider batches, faults of online calls. */
  laneReserveMs: number;
  /** How long what has ended stays. */
  retention: Retention;
  /** What has ended, in SQL. */
  history: HistorySettings;
  /** Who did what. */
  audit: AuditSettings;
  /** What Redis, the history and the API's files keep of contents, encrypted. */
  encryption: EncryptionSettings;
  redaction: RedactionSettings;
  circuitBreaker: {
    enabled: boolean;
    failureRate: number;
    minCalls: number;
    windowMs: number;
    cooldownMs: number;
    quietMs: number;
  };
  /** Answers are kept for so long, all of the namespace together in at most so many bytes. */
  cache: {
    enabled: boolean;
    ttlSeconds: number;
    maxBytes: number;
    /** Answers of like questions; undefined: off. */
    semantic: SemanticSettings | undefined;
  };
  /** The key by which commands call an API elsewhere. */
  apiKey: Secret | undefined;
  /** The dashboard; `trustedProxies`: the proxies whose `X-Forwarded-…` headers count; `sso`: how single sign-on is set up, if it is. */
  dashboard: {
    host: string;
    port: number;
    password: string | undefined;
    trustedProxies: readonly string[];
    sso: SsoRules | undefined;
  };
  /**
   * The HTTP API: where it listens, the host names under which a proxy on this machine is reached, the origins of web pages
   * that may call, how long requests under way have when it ends, and the largest file and batch that it takes.
   */
  api: {
    host: string;
    port: number;
    allowedHosts: readonly string[];
    corsOrigins: readonly string[];
    drainMs: number;
    maxFileBytes: number;
    maxBatchRows: number;
  };
  /** Where the bytes of the API's files are; undefined: in the data folder. */
  fileStore: S3Place | undefined;
  metrics: MetricsSettings;
  alerts: AlertSettings;
  /** Where webhooks may be sent beside public addresses, and how long a receiver has for its answer. */
  webhooks: { allowPrivate: AllowedRanges; timeoutMs: number };
  log: {
    /** Of standard error; undefined: what the command or client says. */
    level: LogLevel | undefined;
    json: boolean;
    /** Whether commands and clients write the file without `setupLogging`. */
    hasFile: boolean;
    file: LogFileSettings;
  };
  tracing: TracingSettings;
  /** Where final failures and crashes are sent. */
  sentry: { dsn: Secret | undefined; environment: string | undefined };
  /** What was read and has no effect, a sentence each. */
  warnings: readonly string[];
  /** Folders the embedded Redis may use, and where its binary is looked for. */
  system: {
    cacheDir: string;
    runtimeDir: string;
    searchPath: string;
    /** What kind of terminal this is; `dumb` for one that cannot draw in place. */
    terminal: string;
    proxyVariables: Record<string, string>;
  };
}

/** Returns the settings, grouped, of the variables' values. */
export function toSettings(
  values: Values,
  providers: Record<string, ProviderEntry>,
  { env, cwd, warnings }: { env: Variables; cwd: string; warnings: readonly string[] },
): Settings {
  const dataDir = resolve(cwd, values.DATA_DIR ?? join(projectFolder(cwd), ".gluellm"));
  return {
    namespace: values.NAMESPACE,
    dataDir,
    redisUrl: values.REDIS_URL,
    defaultModel: values.DEFAULT_MODEL,
    defaultSystemPrompt: values.DEFAULT_SYSTEM_PROMPT,
    maxToolIterations: values.MAX_TOOL_ITERATIONS,
    deployments: values.DEPLOYMENTS,
    providers,
    allowedModels: values.ALLOWED_MODELS,
    limits: withSimpleLimit(values.LIMITS, {
      enabled: values.RATE_LIMIT_ENABLED,
      maxCalls: values.RATE_LIMIT_MAX_CALLS,
      periodSeconds: values.RATE_LIMIT_PERIOD,
    }),
    prices: values.PRICES,
    learnLimits: values.LEARN_LIMITS && values.RATE_LIMIT_ENABLED !== false,
    profile: values.PROFILE,
    retry: {
      maxAttempts: values.RETRY_MAX_ATTEMPTS ?? attemptsOf(values.MAX_RETRIES),
      minWaitMs: (values.RETRY_MIN_WAIT ?? values.RETRY_INITIAL_WAIT ?? DEFAULT_MIN_WAIT) * 1000,
      maxWaitMs: values.RETRY_MAX_WAIT * 1000,
      multiplier: values.RETRY_MULTIPLIER,
    },
    callTimeoutMs: values.CALL_TIMEOUT_MS,
    idleTimeoutMs: values.IDLE_TIMEOUT_MS,
    lockMs: values.LOCK_MS,
    workerConcurrency: values.WORKER_CONCURRENCY,
    maxJobsInTools: values.MAX_JOBS_IN_TOOLS,
    maxQueues: values.MAX_QUEUES,
    lanePollMs: values.LANE_POLL_MS,
    laneReserveMs: values.LANE_RESERVE_MS,
    retention: {
      completedMs: values.RETENTION_COMPLETED * 1000,
      failedMs: values.RETENTION_FAILED * 1000,
      resultsMs: values.RETENTION_RESULTS * 1000,
      conversationsMs: values.RETENTION_CONVERSATIONS * 1000,
      runsMs: values.RETENTION_RUNS * 1000,
      errorsMs: values.RETENTION_ERRORS * 1000,
    },
    history: {
      enabled: values.HISTORY ?? (values.REDIS_URL === undefined || values.DATABASE_URL !== undefined),
      databaseUrl: optionalSecret(values.DATABASE_URL),
      content: values.HISTORY_CONTENT,
      retentionMs: historyRetentionMs(values),
      contentsMs: values.RETENTION_HISTORY_CONTENTS && values.RETENTION_HISTORY_CONTENTS * 1000,
      maxRows: historyMaxRows(values),
    },
    audit: auditSettings(values),
    encryption: {
      keys: values.ENCRYPTION_KEYS,
      module: values.ENCRYPTION_MODULE === undefined ? undefined : resolve(cwd, values.ENCRYPTION_MODULE),
      decryptOnly: values.ENCRYPTION_DECRYPT_ONLY,
    },
    redaction: {
      kinds: values.REDACT,
      module: values.REDACT_MODULE === undefined ? undefined : resolve(cwd, values.REDACT_MODULE),
    },
    circuitBreaker: {
      enabled: values.ENABLE_CIRCUIT_BREAKER,
      failureRate: values.CIRCUIT_BREAKER_FAILURE_RATE,
      minCalls: values.CIRCUIT_BREAKER_MIN_CALLS,
      windowMs: values.CIRCUIT_BREAKER_WINDOW_MS,
      cooldownMs: values.CIRCUIT_BREAKER_COOLDOWN_MS,
      quietMs: values.CIRCUIT_BREAKER_QUIET_MS,
    },
    cache: {
      enabled: values.CACHE_ENABLED,
      ttlSeconds: values.CACHE_TTL,
      maxBytes: values.CACHE_SIZE_LIMIT,
      semantic: semanticSettings(values),
    },
    apiKey: apiKeyOf(values.API_KEY, providers),
    dashboard: {
      host: values.DASHBOARD_HOST,
      port: values.DASHBOARD_PORT,
      password: values.DASHBOARD_PASSWORD,
      trustedProxies: values.DASHBOARD_TRUSTED_PROXIES,
      sso: ssoRules(values),
    },
    api: {
      host: values.API_HOST,
      port: values.API_PORT,
      allowedHosts: values.API_ALLOWED_HOSTS,
      corsOrigins: values.API_CORS_ORIGINS,
      drainMs: values.API_DRAIN_MS,
      maxFileBytes: values.API_MAX_FILE_BYTES,
      maxBatchRows: values.API_MAX_BATCH_ROWS,
    },
    fileStore: fileStoreSetting(values),
    metrics: metricsSettings(values),
    alerts: alertSettings(values),
    webhooks: { allowPrivate: values.WEBHOOK_ALLOW_PRIVATE, timeoutMs: values.WEBHOOK_TIMEOUT_MS },
    log: { level: values.LOG_LEVEL, json: values.LOG_JSON_FORMAT, ...logFileSettings(values, cwd) },
    tracing: tracingSettings(values),
    sentry: { dsn: optionalSecret(values.SENTRY_DSN), environment: values.SENTRY_ENVIRONMENT },
    warnings,
    // Only from the environment: a stranger's .env must not choose which program is run as Redis.
    system: {
      cacheDir: join(cacheHome(env, dataDir), "gluellm"),
      runtimeDir: env.XDG_RUNTIME_DIR || tmpdir(),
      searchPath: env.PATH ?? "",
      terminal: env.TERM ?? "",
      proxyVariables: proxyVariables(env),
    },
  };
}

function attemptsOf(retries: number | undefined): number | undefined {
  return retries === undefined ? undefined : retries + 1;
}

/** The line that `gluellm api` prints sets the variable of OpenAI's clients; a key of OpenAI itself goes nowhere else. */
function apiKeyOf(own: string | undefined, { openai }: Record<string, ProviderEntry>): Secret | undefined {
  const text = own ?? openai?.apiKey?.reveal();
  return text?.startsWith("gk_") ? new Secret(text) : undefined;
}
