import { z } from "zod";
import { DEPLOYMENTS } from "./model-name.ts";
import { outputModeSchema } from "./output-spec.ts";
import { BUILT_IN_PROVIDERS, type ProviderEntry } from "./providers.ts";
import { Secret } from "./secret.ts";
import { entryHeadersSchema, querySchema } from "./wire-options.ts";

const ENTRY_NAME = /^[a-z][a-z0-9-]{0,39}$/;

const baseUrl = z
  .string()
  .refine(isPlainHttpUrl, "must be an http(s) URL without user name, password, query or fragment");

const openAIApi = z.enum(["chat", "responses"]);

/** What an entry says of its requests; built-in ones take it too. */
const requestSettings = {
  headers: entryHeadersSchema.optional(),
  query: querySchema.optional(),
  keyHeader: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,100}$/, "must be the name of a header")
    .optional(),
  api: z.union([openAIApi, z.record(z.string().min(1), openAIApi)]).optional(),
  maxTokensField: z.enum(["max_tokens", "max_completion_tokens"]).optional(),
  dropParameters: z
    .array(
      z.string().refine((name) => name !== "messages" && name !== "model", "is no parameter to leave out"),
    )
    .optional(),
  cacheControl: z.enum(["send", "leaveOut", "refuse"]).optional(),
  batches: z.boolean().optional(),
  flex: z.boolean().optional(),
};

/** `GLUELLM_PROVIDERS`: entries of the user's own, by name, and settings of built-in ones. */
export const addedProvidersSchema = z.record(
  z.string().regex(ENTRY_NAME, "must be lower-case letters, digits and -"),
  z.strictObject({
    dialect: z.enum(["openai", "anthropic"]).optional(),
    baseUrl: baseUrl.optional(),
    keyVariable: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]*$/, "must be an environment variable's name")
      .optional(),
    keyOptional: z.boolean().optional(),
    tokenCharge: z.enum(["used", "requested"]).optional(),
    structuredOutput: outputModeSchema.optional(),
    models: z.array(z.string().min(1)).optional(),
    ...requestSettings,
  }),
);
type Row = z.infer<typeof addedProvidersSchema>[string];

/** What makes another account of an entry; built-in ones have theirs. */
const IDENTITY = ["dialect", "baseUrl", "keyVariable", "keyOptional", "models"] as const;

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
  const entries = BUILT_IN_PROVIDERS.map((entry) => withRow(entry, added[entry.name], faults));
  const isBuiltIn = (name: string) => BUILT_IN_PROVIDERS.some((entry) => entry.name === name);
  const own = Object.entries(added).filter(([name]) => !isBuiltIn(name));
  for (const [name, row] of own) {
    if (name === DEPLOYMENTS)
      faults.push(`GLUELLM_PROVIDERS at ${name}: the name is taken; choose another one`);
    if (row.baseUrl === undefined) faults.push(`GLUELLM_PROVIDERS at ${name}.baseUrl: is missing`);
    const { baseUrl: url = "", keyVariable = `${variableStem(name)}_API_KEY` } = row;
    const entry: ProviderEntry = {
      name,
      dialect: "openai",
      baseUrl: url,
      keyVariable,
      keyOptional: false,
      tokenCharge: "used",
      structuredOutput: "native",
      cacheControl: "send",
      custom: row.models === undefined,
    };
    entries.push({ ...entry, ...asFields(row) });
  }
  const isAdded = ({ name }: ProviderEntry) => own.some(([added]) => added === name);
  return Object.fromEntries(entries.map((entry) => [entry.name, readEntry(entry, isAdded(entry), options)]));
}

/** The built-in entry with the settings that the user gives it. */
function withRow(entry: ProviderEntry, row: Row | undefined, faults: string[]): ProviderEntry {
  const taken = IDENTITY.find((field) => row?.[field] !== undefined);
  if (taken !== undefined) {
    faults.push(
      `GLUELLM_PROVIDERS at ${entry.name}.${taken}: ${entry.name} is built in; choose another name, such as ${entry.name}-eu`,
    );
  }
  return { ...entry, ...(row && asFields(row)) };
}

function asFields({ headers, ...row }: Row): Partial<ProviderEntry> {
  const given = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
  const secrets = Object.entries(headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    new Secret(value),
  ]);
  return { ...given, ...(headers && { headers: Object.fromEntries(secrets) }) };
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

export function variableStem(entryName: string): string {
  return entryName.toUpperCase().replaceAll("-", "_");
}

function isPlainHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol)) return false;
  return !(url.username || url.password || url.search || url.hash);
}
