import { Client, errors } from "undici";
import { InputError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import type { WebhookMessage } from "../store/webhook-log.ts";
import {
  allowedLookup,
  forbiddenAddress,
  isAllowedAddress,
  literalAddress,
  readWebhookUrl,
} from "./address.ts";
import { signedHeaders } from "./message.ts";

/** What is read of an answer, which nobody looks at, before its connection is cut. */
const MAX_ANSWER_BYTES = 16 * 1024;
/** A receiver cannot ask for more. */
const MAX_ASKED_WAIT_MS = 86_400_000;

export interface SendOutcome {
  /** Of the answer; absent when there was none. */
  status?: number;
  /** Why it was not taken; absent when it was (2xx). */
  error?: string;
  durationMs: number;
  /** The receiver asks not to be asked again before. */
  retryAfterMs?: number;
}

/**
 * Sends a message once, over a connection of its own to an address that was judged for it. Redirects are not followed, nor are
 * proxies used: both would reach what was not judged.
 */
export async function sendMessage(
  target: string,
  message: WebhookMessage,
  secrets: readonly string[],
  { allowPrivate, timeoutMs }: Settings["webhooks"],
): Promise<SendOutcome> {
  const startedAt = performance.now();
  const passed = () => Math.round(performance.now() - startedAt);
  let client: Client | undefined;
  try {
    const url = readWebhookUrl(target);
    const literal = literalAddress(url);
    // No address is looked up for one that is written out.
    if (literal !== undefined && !isAllowedAddress(literal, allowPrivate)) throw forbiddenAddress(literal);
    const signal = AbortSignal.timeout(timeoutMs);
    client = new Client(url.origin, {
      connect: { lookup: allowedLookup(allowPrivate), timeout: timeoutMs },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      pipelining: 0,
    });
    const { statusCode, headers, body } = await client.request({
      ...{ method: "POST", path: `${url.pathname}${url.search}`, signal, body: message.body },
      headers: {
        "content-type": "application/json",
        "user-agent": "gluellm-webhooks",
        ...signedHeaders(message, secrets, Date.now()),
      },
    });
    // The status says it all: an answer that breaks off, or never ends, changes nothing.
    await body.dump({ limit: MAX_ANSWER_BYTES, signal }).catch(() => {});
    const isTaken = statusCode >= 200 && statusCode < 300;
    return {
      status: statusCode,
      durationMs: passed(),
      ...(!isTaken && {
        error: `the receiver answered ${statusCode}`,
        retryAfterMs: askedWait(headers["retry-after"]),
      }),
    };
  } catch (error) {
    return { durationMs: passed(), error: faultOf(error, timeoutMs) };
  } finally {
    // What its server still wants to say is not heard.
    await client?.destroy().catch(() => {});
  }
}

function askedWait(header: string | string[] | undefined): number | undefined {
  const text = String(header ?? "");
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return ms > 0 ? Math.min(ms, MAX_ASKED_WAIT_MS) : undefined;
}

/** What went wrong, in words that quote nothing of what was sent or answered. */
function faultOf(error: unknown, timeoutMs: number): string {
  // Of its address.
  if (error instanceof InputError) return `${error.message}; ${error.hint}`;
  if (error instanceof errors.ConnectTimeoutError) return `no connection within ${timeoutMs} ms`;
  const { name, code } = error as NodeJS.ErrnoException;
  if (name === "TimeoutError" || error instanceof errors.HeadersTimeoutError)
    return `no answer within ${timeoutMs} ms`;
  return `no answer: ${code ?? name}`;
}
