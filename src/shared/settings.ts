import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { auditFaults } from "./audit-setting.ts";
import { encryptionFaults } from "./encryption-setting.ts";
import { envFileFaults, readEnvFile, type Variables, withoutEmpty } from "./env-file.ts";
import { ConfigurationError } from "./errors.ts";
import { historyFaults } from "./history-setting.ts";
import { uselessPatterns } from "./model-pattern.ts";
import { addedProvidersSchema, readProviders } from "./provider-settings.ts";
import { unknownKeyHint } from "./schema-check.ts";
import { semanticFaults } from "./semantic-setting.ts";
import { booleanText } from "./setting-types.ts";
import { type Settings, toSettings } from "./settings-groups.ts";
import { BARE_NAMES, jsonText, settingsSchema } from "./settings-schema.ts";
import { ssoFaults } from "./sso-setting.ts";
import { currentFolder } from "./system-places.ts";
import { unknownVariables } from "./unknown-variables.ts";

export type { Settings } from "./settings-groups.ts";

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
  if (parsed.success)
    faults.push(
      ...contradictions(parsed.data, names),
      ...semanticFaults(parsed.data),
      ...ssoFaults(parsed.data),
      ...auditFaults(parsed.data),
      ...historyFaults(parsed.data),
      ...encryptionFaults(parsed.data),
    );
  // Variables of entries that cannot be read would seem to be none.
  const warnings = added.success
    ? unknownVariables({ ...envFile, ...env }, Object.keys(providers), keyVariables)
    : [];
  if (!parsed.success || faults.length > 0) throw settingsFault(faults, warnings);
  for (const warning of warnings) warnOnce(warning);
  return freeze(toSettings(parsed.data, providers, { env, cwd, warnings }));
}

/** Returns the variables of the environment and of `.env` in the current folder, for files that name some. */
export function readVariables(): Variables {
  return { ...readEnvFile(join(currentFolder(), ".env")), ...withoutEmpty(process.env) };
}

const warned = new Set<string>();

/** By way of Node's warnings, which a program may handle or switch off; loggers do not exist yet. */
function warnOnce(warning: string): void {
  if (warned.has(warning)) return;
  warned.add(warning);
  process.emitWarning(warning, "GlueLLMWarning");
}

/** Two names of one setting that say different things. */
function contradictions(values: z.infer<typeof settingsSchema>, names: Map<string, string>): string[] {
  const { RETRY_MAX_ATTEMPTS, MAX_RETRIES, RETRY_MIN_WAIT, RETRY_INITIAL_WAIT } = values;
  const pairs = [
    [
      "MAX_RETRIES",
      MAX_RETRIES === undefined ? undefined : MAX_RETRIES + 1,
      "RETRY_MAX_ATTEMPTS",
      RETRY_MAX_ATTEMPTS,
    ],
    ["RETRY_INITIAL_WAIT", RETRY_INITIAL_WAIT, "RETRY_MIN_WAIT", RETRY_MIN_WAIT],
  ] as const;
  return pairs.flatMap(([name, value, other, otherValue]) =>
    value === undefined || otherValue === undefined || value === otherValue
      ? []
      : `${names.get(name)}: contradicts ${names.get(other)}; set one of them`,
  );
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

function settingsFault(faults: readonly string[], warnings: readonly string[]): ConfigurationError {
  const lines = [...faults, ...warnings].join("\n  ");
  return new ConfigurationError(
    `${faults.length} setting${faults.length > 1 ? "s are" : " is"} wrong:\n  ${lines}`,
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
