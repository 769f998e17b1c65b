import { APIConnectionError, type LLMError } from "../shared/errors.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { type ReadStream, readBody } from "./body.ts";
import { CallTimer } from "./call-timer.ts";
import { readFault } from "./fault.ts";
import type { CallFetchOptions } from "./http-pool.ts";
import type { AdapterOptions, ProviderCall } from "./provider.ts";
import { connectionError, toLLMError, unusableAnswer } from "./provider-errors.ts";

/** The SDKs' timers end this much after the call's own deadline, which also covers the answer's body. */
const SDK_TIMEOUT_MARGIN_MS = 5000;

/** The options of an SDK's `client.post()`. */
export interface PostOptions {
  headers: Record<string, string>;
  timeout: number;
  /** Whether the answer comes as a stream of events. */
  stream: boolean;
  /** Parameters in the address. */
  query?: Record<string, string>;
  /** Passed on to the connection pool's `fetch`. */
  fetchOptions: CallFetchOptions;
}

/** The result of both SDKs' `client.post()`. Refusals reject; the body of an answer is left to us. */
interface SdkPromise {
  asResponse(): Promise<Response>;
}

/** An answer as HTTP brings it, before its dialect is read. */
export interface HttpReply {
  statusCode: number;
  requestId: string;
  headers: Headers;
  /** The body: parsed JSON, what a stream adds up to, or the text of anything else. */
  data: unknown;
}

/** The error of a call that the caller's signal ended; `cause` is the signal's reason. */
class AbortError extends Error {
  override readonly name = "AbortError";

  constructor(reason: unknown) {
    super("the provider call was aborted by its caller", { cause: reason });
  }
}

/**
 * Posts once, within the call's deadline, and returns the answer, a stream read to its last event.
 * @throws AbortError when the caller's signal ended it; an LLMError for every other failure.
 */
export async function postOnce(
  entry: ProviderEntry,
  call: ProviderCall,
  { onHeaders, route }: AdapterOptions & { route: string },
  readStream: ReadStream,
  post: (options: PostOptions) => SdkPromise,
): Promise<HttpReply> {
  if (call.signal.aborted) throw new AbortError(call.signal.reason);
  const controller = new AbortController();
  const abort = () => controller.abort();
  call.signal.addEventListener("abort", abort, { once: true });
  const sentAtMs = performance.now();
  using timer = new CallTimer(call, abort);
  let response: Response | undefined;
  try {
    response = await post({
      headers: { "X-Client-Request-Id": call.requestId },
      timeout: call.timeoutMs + SDK_TIMEOUT_MARGIN_MS,
      stream: call.onDelta !== undefined,
      fetchOptions: { callHeaders: { ...call.wire?.headers }, callSignal: controller.signal },
      ...((entry.query || call.wire?.query) && { query: { ...entry.query, ...call.wire?.query } }),
    }).asResponse();
    const { status: statusCode, headers } = response;
    const requestId = requestIdIn(headers, entry);
    onHeaders?.({ model: call.model, headers, isSuccess: true, sentAtMs });
    const data = await readBody(response, readStream, call.onDelta, timer.alive);
    controller.signal.throwIfAborted();
    if (data === undefined) {
      const reason = "its stream ended before the finish reason";
      throw unusableAnswer(entry, reason, { statusCode, requestId });
    }
    return { statusCode, requestId, headers, data };
  } catch (error) {
    const { headers } = error as { headers?: Headers };
    if (headers && !response) onHeaders?.({ model: call.model, headers, isSuccess: false, sentAtMs });
    throw explain(error, entry, call, { timer, route });
  } finally {
    call.signal.removeEventListener("abort", abort);
  }
}

/** A proxy in front of Anthropic may have an id of its own. */
function requestIdIn(headers: Headers, { dialect }: ProviderEntry): string {
  const names = ["x-request-id", "request-id"];
  if (dialect === "anthropic") names.reverse();
  return names.map((name) => headers.get(name)).find((id) => id) ?? "";
}

function explain(
  error: unknown,
  entry: ProviderEntry,
  call: ProviderCall,
  { timer, route }: { timer: CallTimer; route: string },
): LLMError | AbortError {
  if (error instanceof APIConnectionError) return error;
  const fault = readFault(error);
  if (fault) return toLLMError(fault, entry, call.model);
  if (call.signal.aborted) return new AbortError(call.signal.reason);
  return timer.errorOf(entry) ?? connectionError(error, entry, route);
}
