import { z } from "zod";
import { outputModeSchema } from "./output-spec.ts";
import { BUILT_IN_PROVIDERS, type ProviderEntry } from "./providers.ts";
import { Secret } from "./secret.ts";

const ENTRY_NAME = /^[a-z][a-z0-9-]{0,39}$/;

const baseUrl = z
  .string()
  .refine(isPlainHttpUrl, "must be an http(s) URL without user name, password, query or fragment");

/** `GLUELLM_PROVIDERS`: entries of the user's own, by name. */
export const addedProvidersSchema = z.record(
  z.string().regex(ENTRY_NAME, "must be lower-case letters, digits and -"),
  z.strictObject({
    dialect: z.enum(["openai", "anthropic"]).default("openai"),
    baseUrl,
    keyVariable: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]*$/, "must be an environment variable's name")
      .optional(),
    keyOptional: z.boolean().default(false),
    tokenCharge: z.enum(["used", "requested"]).default("used"),
    structuredOutput: outputModeSchema.default("native"),
    models: z.array(z.string().min(1)).optional(),
  }),
);

interface ReadOptions {
  variables: Record<string, string | undefined>;
  added: z.infer<typeof addedProvidersSchema>;
  fromEnvFile: (variable: string) => boolean;
  allowEnvFileBaseUrl: boolean;
  /** Collects what is wrong, a line each. */
  faults: string[];
}

/** The provider entries with their keys and base URLs: the built-in ones, then the user's own. */
export function readProviders(options: ReadOptions): Record<string, ProviderEntry> {
  const { added, faults } = options;
  const entries: ProviderEntry[] = BUILT_IN_PROVIDERS.map((entry) => ({ ...entry }));
  for (const [name, row] of Object.entries(added)) {
    if (entries.some((entry) => entry.name === name)) {
      faults.push(`GLUELLM_PROVIDERS at ${name}: is built in; choose another name, such as ${name}-eu`);
      continue;
    }
    const keyVariable = row.keyVariable ?? `${variableStem(name)}_API_KEY`;
    entries.push({ ...row, name, keyVariable, custom: row.models === undefined });
  }
  return Object.fromEntries(
    entries.map((entry) => [entry.name, readEntry(entry, entry.name in added, options)]),
  );
}

function readEntry(entry: ProviderEntry, isAdded: boolean, options: ReadOptions): ProviderEntry {
  const { variables, fromEnvFile, allowEnvFileBaseUrl, faults } = options;
  const urlVariable = setName(variables, `${variableStem(entry.name)}_BASE_URL`);
  const keyVariable = setName(variables, entry.keyVariable);
  const url = variables[urlVariable];
  if (url !== undefined && !isPlainHttpUrl(url)) {
    faults.push(`${urlVariable}: must be an http(s) URL without user name, password, query or fragment`);
  }
  const urlSource = url !== undefined ? urlVariable : isAdded ? "GLUELLM_PROVIDERS" : undefined;
  const key = variables[keyVariable];
  if (key && urlSource && fromEnvFile(urlSource) && !fromEnvFile(keyVariable) && !allowEnvFileBaseUrl) {
    // A stranger's .env must not receive the shell's key.
    faults.push(
      `${urlSource}: comes from .env while ${keyVariable} comes from the environment; set both in one place, ` +
        "or GLUELLM_ALLOW_ENV_FILE_BASE_URL=true in the environment",
    );
  }
  return {
    ...entry,
    ...(url !== undefined && { baseUrl: url.replace(/\/+$/, ""), custom: true }),
    ...(key !== undefined && { apiKey: new Secret(key) }),
  };
}

/** The prefixed name when it is set, else the bare one. */
function setName(variables: Record<string, string | undefined>, name: string): string {
  return variables[`GLUELLM_${name}`] === undefined ? name : `GLUELLM_${name}`;
}

function variableStem(entryName: string): string {
  return entryName.toUpperCase().replaceAll("-", "_");
}

function isPlainHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol)) return false;
  return !(url.username || url.password || url.search || url.hash);
}
