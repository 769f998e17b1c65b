import { sha256 } from "./digest.ts";
import { ConfigurationError } from "./errors.ts";
import { matchesGlob } from "./glob.ts";
import type { OutputMode } from "./output-spec.ts";
import type { Secret } from "./secret.ts";

export type Dialect = "openai" | "anthropic";
/** What the dialect `openai` asks for answers by: Chat Completions or Responses. */
export type OpenAIApi = "chat" | "responses";

/** One account at one provider. Queue, budget and breaker all hang on `name:model`. */
export interface ProviderEntry {
  name: string;
  dialect: Dialect;
  baseUrl: string;
  /** The environment variable that holds the key; the key itself stays out of jobs and fingerprints. */
  keyVariable: string;
  /** Absent only where no key is needed (`keyOptional`) or none is set. */
  apiKey?: Secret;
  keyOptional?: boolean;
  /** Patterns of the models this entry serves; absent: the price list decides, or any for added entries. */
  models?: readonly string[];
  /**
   * What its token limits count of a request: what it used (default), or the prompt and all that `max_tokens` would
   * have allowed, as OpenAI does.
   */
  tokenCharge?: "used" | "requested";
  /** How it is asked for structured answers; default `native`. */
  structuredOutput?: OutputMode;
  /** Headers of every call; they may hold a gateway's key. */
  headers?: Readonly<Record<string, Secret>>;
  /** Parameters in the address of every call, such as Azure's `api-version`. */
  query?: Readonly<Record<string, string>>;
  /** The header that carries the key as it is, such as Azure's `api-key`; absent: `Authorization: Bearer <key>`. */
  keyHeader?: string;
  /**
   * What it is asked by, for all of its models or by patterns of them, of which the first that fits counts; default `chat`. Only of
   * the dialect `openai`.
   */
  api?: OpenAIApi | Readonly<Record<string, OpenAIApi>>;
  /** The word for the longest answer; absent: as the model wants it, where that is known, else as the request says. */
  maxTokensField?: "max_tokens" | "max_completion_tokens";
  /** Parameters of requests that are left out, such as `temperature` for models that refuse it. */
  dropParameters?: readonly string[];
  /**
   * What becomes of `cache_control` marks in messages and tools: they are sent, left out, or the call is refused. Default:
   * left out. Only of the dialect `openai`; Anthropic always gets them.
   */
  cacheControl?: "send" | "leaveOut" | "refuse";
  /** Whether its server has batches at a lower price; default: as is known of built-in entries. */
  batches?: boolean;
  /** Whether its server has the tier flex, at half the price; default: as is known of built-in entries. */
  flex?: boolean;
  /** Sends the requests in place of the connection pool, for a transport of the user's own; a program alone can set it. */
  fetch?: typeof globalThis.fetch;
  /**
   * Whether the entry is not built in: true for entries of the user's own and for redirected base URLs: no price list
   * knows their models.
   */
  custom?: boolean;
}

export const BUILT_IN_PROVIDERS: readonly ProviderEntry[] = [
  {
    name: "openai",
    dialect: "openai",
    baseUrl: "https://api.openai.com/v1",
    keyVariable: "OPENAI_API_KEY",
    tokenCharge: "requested",
  },
  {
    name: "anthropic",
    dialect: "anthropic",
    baseUrl: "https://api.anthropic.com",
    keyVariable: "ANTHROPIC_API_KEY",
  },
  { name: "xai", dialect: "openai", baseUrl: "https://api.x.ai/v1", keyVariable: "XAI_API_KEY" },
  {
    name: "openrouter",
    dialect: "openai",
    baseUrl: "https://openrouter.ai/api/v1",
    keyVariable: "OPENROUTER_API_KEY",
    cacheControl: "send",
  },
  {
    name: "google",
    dialect: "openai",
    baseUrl: "https://generativelanguage.googleapis.com/v1beta/openai",
    keyVariable: "GOOGLE_API_KEY",
    api: "chat",
  },
  {
    name: "simulator",
    dialect: "openai",
    baseUrl: "http://127.0.0.1:4010/v1",
    keyVariable: "SIMULATOR_API_KEY",
    keyOptional: true,
    models: ["*"],
  },
];

const FINGERPRINTS = new WeakMap<ProviderEntry, string>();

/**
 * Identifies what a name means on one machine (dialect, base URL, key variable, query; never the key), so that a
 * worker with another entry under the same name puts the job back instead of calling somebody else's server.
 */
export function fingerprint(entry: ProviderEntry): string {
  const known = FINGERPRINTS.get(entry);
  if (known) return known;
  const { dialect, baseUrl, keyVariable, query } = entry;
  // An entry without a query is known by the same mark as in older versions.
  const named = [dialect, baseUrl, keyVariable, ...(query ? [query] : [])];
  const made = sha256(JSON.stringify(named)).slice(0, 16);
  FINGERPRINTS.set(entry, made);
  return made;
}

/** The entry's key. @throws ConfigurationError naming the variable when it is missing. */
export function requireKey(entry: ProviderEntry): string {
  if (entry.apiKey) return entry.apiKey.reveal();
  if (entry.keyOptional) return "none";
  throw new ConfigurationError(
    `no key for provider "${entry.name}": ${entry.keyVariable} is not set`,
    `set ${entry.keyVariable} in the environment or in .env, then run the same command again`,
    "missing_key",
  );
}

/** Returns what a model of the entry is asked by. */
export function apiOf(entry: ProviderEntry, model: string): OpenAIApi {
  return namedApi(entry, model) ?? "chat";
}

/** Returns whether a body of Responses can go to the model as it is: the entry does not say that it is asked by chat. */
function takesResponses(entry: ProviderEntry | undefined, model: string): boolean {
  return entry?.dialect === "openai" && namedApi(entry, model) !== "chat";
}

/** Returns whether a model's server takes requests in a vendor's own form. */
export function speaksForm(
  entry: ProviderEntry | undefined,
  model: string,
  form: "responses" | "anthropic" | "google",
): boolean {
  if (form === "responses") return takesResponses(entry, model);
  if (form === "anthropic") return entry?.dialect === "anthropic";
  const host = URL.parse(entry?.baseUrl ?? "")?.hostname ?? "";
  return entry?.dialect === "openai" && (entry.name === "google" || host.endsWith(".googleapis.com"));
}

function namedApi({ api }: ProviderEntry, model: string): OpenAIApi | undefined {
  if (typeof api !== "object") return api;
  return Object.entries(api).find(([pattern]) => matchesGlob(pattern, model))?.[1];
}

/** Returns whether the entry's own configuration names the model. */
export function servesModel(entry: ProviderEntry, model: string): boolean {
  return entry.models?.some((pattern) => matchesGlob(pattern, model)) ?? entry.custom ?? false;
}
