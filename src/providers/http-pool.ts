import { Agent, errors, Response as UndiciResponse, fetch as undiciFetch } from "undici";
import { AuthenticationError } from "../shared/errors.ts";
import { type ProviderEntry, requireKey } from "../shared/providers.ts";

const DEFAULT_CONNECTIONS = 512;
const KEEP_ALIVE_MS = 30_000;
/** The largest answer: a runaway one must not take the worker's memory with it. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const SENT_HEADERS =
  /^(accept|content-type|user-agent|anthropic-version|x-client-request-id|x-stainless-.*)$/;

/** The connections to one account. */
export interface HttpPool {
  apiKey: string;
  fetch: typeof globalThis.fetch;
  close(): Promise<void>;
}

/**
 * Returns a keep-alive connection pool whose `fetch` carries the entry's key to the entry's base URL and nowhere else.
 * @throws ConfigurationError when the key is missing; AuthenticationError when no header can carry it.
 */
export function createHttpPool(entry: ProviderEntry, connections = DEFAULT_CONNECTIONS): HttpPool {
  const apiKey = usableKey(entry);
  const dispatcher = new Agent({
    connections,
    // Over HTTP/2 one lost connection would fail every call on it.
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxResponseSize: MAX_RESPONSE_BYTES,
    // The call's own deadline covers both; undici's five minutes would cut longer ones.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const send = async (url: string, init: RequestInit = {}) =>
    bounded(
      await undiciFetch(url, {
        ...(init as Parameters<typeof undiciFetch>[1]),
        headers: sentHeaders(init.headers, apiKey),
        // A redirect would take the key along; it comes back as a 3xx status instead.
        redirect: "manual",
        dispatcher,
      }),
    );
  // undici's types and Node's describe the same classes twice.
  // Bun has an undici of its own, whose dispatchers do nothing.
  const close = async () => dispatcher.close?.();
  return { apiKey, fetch: send as unknown as typeof globalThis.fetch, close };
}

/** Bounds the bytes of an answer once it is unpacked: the dispatcher counts those that arrive, a thousand times fewer. */
function bounded(response: UndiciResponse): UndiciResponse {
  if (!response.body || !response.headers.has("content-encoding")) return response;
  let bytes = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes <= MAX_RESPONSE_BYTES) controller.enqueue(chunk);
      else controller.error(new errors.ResponseExceededMaxSizeError());
    },
  });
  const { status, statusText, headers } = response;
  return new UndiciResponse(response.body.pipeThrough(limit), { status, statusText, headers });
}

/**
 * Returns the headers to send. The SDKs add whatever OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS hold, an
 * Authorization of its own included, and have no option against it.
 */
function sentHeaders(headers: RequestInit["headers"], apiKey: string): [string, string][] {
  const kept = [...new Headers(headers)].filter(([name]) => SENT_HEADERS.test(name));
  return [...kept, ["authorization", `Bearer ${apiKey}`]];
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
