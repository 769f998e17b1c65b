import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import type { Deployments } from "./deployments.ts";
import { envFileFaults, readEnvFile, type Variables, withoutEmpty } from "./env-file.ts";
import { ConfigurationError } from "./errors.ts";
import { type Limits, withSimpleLimit } from "./limits-setting.ts";
import { uselessPatterns } from "./model-pattern.ts";
import type { Prices } from "./prices-setting.ts";
import type { ProfileName } from "./profiles.ts";
import { addedProvidersSchema, readProviders } from "./provider-settings.ts";
import type { ProviderEntry } from "./providers.ts";
import type { Retention } from "./retention.ts";
import { unknownKeyHint } from "./schema-check.ts";
import { Secret } from "./secret.ts";
import { BARE_NAMES, booleanText, jsonText, settingsSchema } from "./settings-schema.ts";
import { cacheHome, currentFolder, projectFolder, proxyVariables } from "./system-places.ts";

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
  retry: { maxAttempts: number | undefined; minWaitMs: number; maxWaitMs: number };
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
  /** How long what has ended stays. */
  retention: Retention;
  circuitBreaker: {
    enabled: boolean;
    failureRate: number;
    minCalls: number;
    windowMs: number;
    cooldownMs: number;
    quietMs: number;
  };
  /** Answers are kept for so long, all of the namespace together in at most so many bytes. */
  cache: { enabled: boolean; ttlSeconds: number; maxBytes: number };
  /** The key by which commands call an API elsewhere. */
  apiKey: Secret | undefined;
  dashboard: { host: string; port: number; password: string | undefined };
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
  log: { level: string | undefined; json: boolean };
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

export interface LoadOptions {
  env?: Variables;
  cwd?: string;
  /** The quickstart and the tests: a REDIS_URL left in a shell must never point them at somebody's production. */
  ignoreBareRedisUrl?: boolean;
}

/**
 * Reads the settings from the environment, then `.env` in the current folder. `GLUELLM_X` wins over bare `X`.
 * @throws ConfigurationError listing every fault at once, by variable name.
 */
export function loadSettings({
  env = process.env,
  cwd = currentFolder(),
  ignoreBareRedisUrl = false,
}: LoadOptions = {}): Settings {
  const envFile = readEnvFile(join(cwd, ".env"));
  const variables = withoutEmpty({ ...envFile, ...withoutEmpty(env) });
  if (ignoreBareRedisUrl) delete variables.REDIS_URL;

  const names = new Map<string, string>();
  const raw: Variables = {};
  for (const key of Object.keys(settingsSchema.shape)) {
    const name = variables[`GLUELLM_${key}`] === undefined && BARE_NAMES.has(key) ? key : `GLUELLM_${key}`;
    names.set(key, name);
    raw[key] = variables[name];
  }
  const faults: string[] = [];
  for (const key of ["LIMITS", "PRICES"]) raw[key] = textOrFile(`GLUELLM_${key}`, raw[key], cwd, faults);
  const parsed = settingsSchema.safeParse(raw);
  if (!parsed.success)
    faults.push(...parsed.error.issues.map((issue) => describeIssue(settingsSchema, issue, names)));
  const added = jsonText(addedProvidersSchema).default({}).safeParse(variables.GLUELLM_PROVIDERS);
  if (!added.success) {
    faults.push(
      ...added.error.issues.map((issue) =>
        describeIssue(
          z.object({ PROVIDERS: addedProvidersSchema }),
          { ...issue, path: ["PROVIDERS", ...issue.path] },
          names,
        ),
      ),
    );
  }
  const isTrusted = readPermission("GLUELLM_TRUST_ENV_FILE", env, faults);
  const providers = readProviders({
    variables,
    added: added.data ?? {},
    fromEnvFile: (name) => envFile[name] !== undefined && !env[name],
    allowEnvFileBaseUrl: isTrusted || readPermission("GLUELLM_ALLOW_ENV_FILE_BASE_URL", env, faults),
    faults,
  });
  const keyVariables = Object.values(providers).flatMap(({ keyVariable }) => [
    `GLUELLM_${keyVariable}`,
    keyVariable,
  ]);
  if (!isTrusted) faults.push(...envFileFaults(envFile, env, keyVariables));
  for (const key of ["LIMITS", "PRICES"] as const) {
    const patterns = Object.keys(parsed.data?.[key] ?? {});
    faults.push(...uselessPatterns(`GLUELLM_${key}`, patterns, Object.keys(providers)));
  }
  if (!parsed.success || faults.length > 0) throw settingsFault(faults);
  return freeze(toSettings(parsed.data, providers, env, cwd));
}

/** The JSON itself, or what the file holds that is named instead. */
function textOrFile(
  variable: string,
  value: string | undefined,
  cwd: string,
  faults: string[],
): string | undefined {
  if (value === undefined || value.trimStart().startsWith("{")) return value;
  try {
    return readFileSync(resolve(cwd, value), "utf8");
  } catch (error) {
    const { code = "unknown fault" } = error as NodeJS.ErrnoException;
    faults.push(
      `${variable}: must be JSON or the name of a readable file; ${JSON.stringify(value)}: ${code}`,
    );
    return undefined;
  }
}

function readPermission(name: string, env: Variables, faults: string[]): boolean {
  const permission = booleanText.safeParse(env[name] || "false");
  if (!permission.success) faults.push(`${name}: must be true or false`);
  return permission.data ?? false;
}

/** A frozen copy of the settings with some replaced; for the hosts that start parts of their own (quickstart, tests). */
export function withSettings(settings: Settings, changes: Partial<Settings>): Settings {
  return freeze({ ...settings, ...changes });
}

function toSettings(
  values: z.infer<typeof settingsSchema>,
  providers: Record<string, ProviderEntry>,
  env: Variables,
  cwd: string,
): Settings {
  const dataDir = resolve(cwd, values.DATA_DIR ?? join(projectFolder(cwd), ".gluellm"));
  return {
    namespace: values.NAMESPACE,
    dataDir,
    redisUrl: values.REDIS_URL,
    defaultModel: values.DEFAULT_MODEL,
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
      maxAttempts: values.RETRY_MAX_ATTEMPTS,
      minWaitMs: values.RETRY_MIN_WAIT * 1000,
      maxWaitMs: values.RETRY_MAX_WAIT * 1000,
    },
    callTimeoutMs: values.CALL_TIMEOUT_MS,
    idleTimeoutMs: values.IDLE_TIMEOUT_MS,
    lockMs: values.LOCK_MS,
    workerConcurrency: values.WORKER_CONCURRENCY,
    maxJobsInTools: values.MAX_JOBS_IN_TOOLS,
    maxQueues: values.MAX_QUEUES,
    retention: {
      completedMs: values.RETENTION_COMPLETED * 1000,
      failedMs: values.RETENTION_FAILED * 1000,
      resultsMs: values.RETENTION_RESULTS * 1000,
      conversationsMs: values.RETENTION_CONVERSATIONS * 1000,
      runsMs: values.RETENTION_RUNS * 1000,
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
    },
    apiKey: apiKeyOf(values.API_KEY, providers),
    dashboard: {
      host: values.DASHBOARD_HOST,
      port: values.DASHBOARD_PORT,
      password: values.DASHBOARD_PASSWORD,
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
    log: { level: values.LOG_LEVEL, json: values.LOG_JSON_FORMAT },
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

/** The line that `gluellm api` prints sets the variable of OpenAI's clients; a key of OpenAI itself goes nowhere else. */
function apiKeyOf(own: string | undefined, { openai }: Record<string, ProviderEntry>): Secret | undefined {
  const text = own ?? openai?.apiKey?.reveal();
  return text?.startsWith("gk_") ? new Secret(text) : undefined;
}

function settingsFault(faults: string[]): ConfigurationError {
  return new ConfigurationError(
    `${faults.length} setting${faults.length > 1 ? "s are" : " is"} wrong:\n  ${faults.join("\n  ")}`,
    "correct them in the environment or in .env; .env.example lists every setting",
  );
}

function describeIssue(schema: z.ZodType, issue: z.core.$ZodIssue, names: Map<string, string>): string {
  const [key, ...rest] = issue.path.map(String);
  const where = rest.length > 0 ? ` at ${rest.join(".")}` : "";
  const message = issue.code === "invalid_key" ? issue.issues[0]?.message : issue.message;
  const hint = unknownKeyHint(schema, issue);
  return `${names.get(key ?? "") ?? `GLUELLM_${key}`}${where}: ${message}${hint ? ` (${hint})` : ""}`;
}

function freeze<T extends object>(value: T): T {
  for (const child of Object.values(value)) {
    if (child && typeof child === "object" && !Object.isFrozen(child)) freeze(child as object);
  }
  return Object.freeze(value);
}
