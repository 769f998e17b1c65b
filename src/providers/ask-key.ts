import { fieldsOf, parseJson } from "../shared/json.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { CURRENT_VERSION } from "./anthropic-request.ts";
import { createHttpPool, type PoolOptions } from "./http-pool.ts";
import { connectionError } from "./provider-errors.ts";

/** What a provider said when it was shown a key. */
export type KeyAnswer =
  /** `models`: how many it named; undefined when its answer named none. */
  | { kind: "answered"; status: number; models: number | undefined }
  /** It did not answer. */
  | { kind: "unreachable"; message: string };

/**
 * Shows an entry's key to its provider by a call that costs nothing: the list of the models, or of OpenRouter, which shows that to
 * everyone, what it knows of the key.
 * @throws ConfigurationError when the key is missing; AuthenticationError when no header can carry it; the signal's reason
 */
export async function askKey(
  entry: ProviderEntry,
  { proxyVariables, signal }: PoolOptions & { signal: AbortSignal },
): Promise<KeyAnswer> {
  const pool = createHttpPool(entry, { connections: 1, proxyVariables });
  try {
    const headers = new Headers({
      accept: "application/json",
      ...(entry.dialect === "anthropic" && { "anthropic-version": CURRENT_VERSION }),
    });
    const init = { method: "GET", headers, callHeaders: {}, callSignal: signal };
    const response = await pool.fetch(addressOf(entry), init as RequestInit);
    const body = fieldsOf(parseJson(await response.text()));
    return {
      kind: "answered",
      status: response.status,
      models: Array.isArray(body.data) ? body.data.length : undefined,
    };
  } catch (error) {
    if (signal.aborted) throw error;
    return { kind: "unreachable", message: connectionError(error, entry, pool.route).message };
  } finally {
    await pool.close();
  }
}

function addressOf({ baseUrl, dialect, query = {} }: ProviderEntry): string {
  const base = baseUrl.replace(/\/+$/, "");
  const showsAll = URL.parse(baseUrl)?.hostname === "openrouter.ai";
  const path = dialect === "anthropic" ? "/v1/models" : showsAll ? "/key" : "/models";
  const parameters = new URLSearchParams(query).toString();
  return `${base}${path}${parameters && `?${parameters}`}`;
}
