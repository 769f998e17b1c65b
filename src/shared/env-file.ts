import { existsSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { ConfigurationError } from "./errors.ts";
import { BARE_NAMES } from "./settings-schema.ts";

export type Variables = Record<string, string | undefined>;

/** What says where prompts, answers and keys go, or who may look at them. */
const GUARDED = [
  "REDIS_URL",
  "DATABASE_URL",
  "DATA_DIR",
  "FILE_STORE",
  "FILE_STORE_ENDPOINT",
  "ENCRYPTION_KEYS",
  "ENCRYPTION_MODULE",
  "REDACT_MODULE",
  "DASHBOARD_HOST",
  "DASHBOARD_PASSWORD",
  "SSO_USER_HEADER",
  "SSO_PROXIES",
  "SSO_DEFAULT_ROLE",
  "API_HOST",
  "API_ALLOWED_HOSTS",
  "API_CORS_ORIGINS",
  "METRICS_HOST",
  "METRICS_TOKEN",
  "ALERT_WEBHOOK",
  "WEBHOOK_ALLOW_PRIVATE",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "MLFLOW_TRACKING_URI",
  "TRACING_CONTENT",
  "SENTRY_DSN",
  "LOG_DIR",
];

/**
 * Returns the variables of a `.env` file that are not empty; none when there is no file.
 * @throws ConfigurationError when it cannot be read
 */
export function readEnvFile(path: string): Variables {
  if (!existsSync(path)) return {};
  try {
    return withoutEmpty(parseEnv(readFileSync(path, "utf8")) as Variables);
  } catch (error) {
    throw new ConfigurationError(`cannot read ${path}: ${(error as Error).message}`, "check its permissions");
  }
}

/** An empty variable means "not set", as in most shells and compose files. */
export function withoutEmpty(variables: Variables): Variables {
  return Object.fromEntries(
    Object.entries(variables).filter(([, value]) => value !== undefined && value !== ""),
  );
}

/**
 * Returns a fault for each setting of `.env` that a stranger's folder must not choose while the environment brings keys:
 * whoever enters the folder of a stranger would send prompts to the stranger's Redis, or open the dashboard to them.
 * @param keyVariables the names of the providers' keys that are set
 */
export function envFileFaults(envFile: Variables, env: Variables, keyVariables: readonly string[]): string[] {
  const key = keyVariables.find((name) => env[name]);
  if (key === undefined) return [];
  const names = GUARDED.flatMap((name) => [`GLUELLM_${name}`, name]);
  return names
    .filter((name) => envFile[name] && !env[name] && isUsed(name, env))
    .map(
      (name) =>
        `${name}: comes from .env while ${key} comes from the environment; set both in one place, ` +
        "or GLUELLM_TRUST_ENV_FILE=true in the environment if the folder is yours",
    );
}

/** Some names are read without the prefix too, and the prefixed one wins. */
function isUsed(name: string, env: Variables): boolean {
  return name.startsWith("GLUELLM_") || (BARE_NAMES.has(name) && !env[`GLUELLM_${name}`]);
}
