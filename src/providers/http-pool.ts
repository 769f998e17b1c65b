import type { Agent, ProxyAgent } from "undici";
import { AuthenticationError } from "../shared/errors.ts";
import { type ProviderEntry, requireKey } from "../shared/providers.ts";
import { dispatch } from "./dispatch.ts";
import type { PoolUse } from "./provider.ts";
import { type Route, routeTo } from "./proxy.ts";
import { loadUndici } from "./undici.ts";

const DEFAULT_CONNECTIONS = 512;
const KEEP_ALIVE_MS = 30_000;
/** The largest answer: a runaway one must not take the worker's memory with it. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const SENT_HEADERS =
  /^(accept|content-type|user-agent|anthropic-version|x-client-request-id|x-stainless-.*)$/;

/** The connections to one account. */
export interface HttpPool {
  apiKey: string;
  fetch: typeof globalThis.fetch;
  /** The way to the server, for people. */
  route: string;
  use(): PoolUse;
  close(): Promise<void>;
}

export interface PoolOptions {
  connections?: number | undefined;
  /** The variables that name proxies; default none. */
  proxyVariables?: Readonly<Record<string, string>> | undefined;
}

/** What the SDKs pass on to `fetch`, of a call. */
export interface CallFetchOptions {
  callHeaders: Readonly<Record<string, string>>;
  /** The SDKs' own way to pass a signal makes two more of it. */
  callSignal: AbortSignal;
}

type CallInit = RequestInit & CallFetchOptions;

/**
 * Returns a keep-alive connection pool whose `fetch` carries the entry's key to the entry's base URL, through the proxy that
 * the environment names for it, and nowhere else.
 * @throws ConfigurationError when the key is missing, or the proxy is none; AuthenticationError when no header can carry it.
 */
export function createHttpPool(entry: ProviderEntry, options: PoolOptions = {}): HttpPool {
  const { connections = DEFAULT_CONNECTIONS, proxyVariables = {} } = options;
  const apiKey = usableKey(entry);
  const route = routeOf(entry, proxyVariables);
  const settings = {
    connections,
    // Over HTTP/2 one lost connection would fail every call on it.
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxResponseSize: MAX_RESPONSE_BYTES,
    // The call's own deadline covers both; undici's five minutes would cut longer ones.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const dispatcher = route.proxy ? proxyAgent(route.proxy, settings) : new (loadUndici().Agent)(settings);
  // Bun has an undici of its own, whose dispatchers do nothing.
  const fetch = entry.fetch ?? ("dispatch" in dispatcher ? undefined : globalThis.fetch);
  const send = (url: string, { callHeaders, callSignal: signal, ...init }: CallInit) => {
    const { method = "POST", body } = init;
    const headers = sentHeaders(entry, apiKey, init.headers, callHeaders);
    // A redirect would take the key along; it comes back as a 3xx status instead.
    if (fetch) return fetch(url, { ...init, headers, signal, redirect: "manual" });
    // Without deflate, which servers write in two ways.
    headers["accept-encoding"] = "gzip, br, zstd";
    const maxBytes = MAX_RESPONSE_BYTES;
    return dispatch(dispatcher, { url, method, headers, body: body as string, signal, maxBytes });
  };
  return {
    apiKey,
    fetch: send as unknown as typeof globalThis.fetch,
    route: route.why,
    use: () => useOf(dispatcher),
    close: async () => dispatcher.close?.(),
  };
}

/** Its own pools of plain HTTP would know nothing of the settings. */
function proxyAgent(proxy: URL, settings: Agent.Options): ProxyAgent {
  const undici = loadUndici();
  const factory = (origin: URL, options: object) => new undici.Pool(origin, { ...settings, ...options });
  return new undici.ProxyAgent({ ...settings, uri: proxy.href, factory });
}

/** A proxy's agent tells nothing of itself. */
function useOf(dispatcher: Agent | ProxyAgent): PoolUse {
  const use = { open: 0, running: 0, waiting: 0 };
  if (!("stats" in dispatcher)) return use;
  for (const { connected, running, queued = 0, pending } of Object.values<OriginUse>(dispatcher.stats)) {
    use.open += Number(connected);
    use.running += running;
    use.waiting += queued + pending;
  }
  return use;
}

/** What undici tells of a server: of one connection, or of several. */
interface OriginUse {
  connected: boolean | number;
  running: number;
  queued?: number;
  pending: number;
}

/** The simulator on this machine is never behind a proxy, whatever the environment says for others. */
function routeOf({ name, baseUrl }: ProviderEntry, variables: Readonly<Record<string, string>>): Route {
  const url = URL.parse(baseUrl);
  const isOwn = name === "simulator" && LOOPBACK.test(url?.hostname ?? "");
  return url && !isOwn ? routeTo(url, variables) : { why: "directly" };
}

/**
 * Returns the headers to send: those of the call, else of the entry, around what every call has. The SDKs add whatever
 * OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS hold, an Authorization of its own included, and have no option against
 * it.
 */
function sentHeaders(
  { headers: ofEntry = {}, keyHeader }: ProviderEntry,
  apiKey: string,
  ofSdk: RequestInit["headers"],
  ofCall: Readonly<Record<string, string>>,
): Record<string, string> {
  const sent: Record<string, string> = {};
  for (const [name, value] of ofSdk as Headers) if (SENT_HEADERS.test(name)) sent[name] = value;
  for (const [name, value] of Object.entries(ofEntry)) sent[name.toLowerCase()] = value.reveal();
  for (const [name, value] of Object.entries(ofCall)) sent[name.toLowerCase()] = value;
  if (keyHeader) sent[keyHeader.toLowerCase()] = apiKey;
  else sent.authorization = `Bearer ${apiKey}`;
  return sent;
}

function usableKey(entry: ProviderEntry): string {
  const key = requireKey(entry);
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new AuthenticationError({
    code: "malformed_key",
    message: `the key for provider "${entry.name}" holds a space, a line break or a letter outside ASCII`,
    hint: `correct ${entry.keyVariable}, then run the same command again`,
  });
}
