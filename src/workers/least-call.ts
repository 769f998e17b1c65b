import type { ProviderAdapter, ProviderCall } from "../providers/provider.ts";
import { policyOf } from "../shared/error-policy.ts";
import { APIConnectionError } from "../shared/errors.ts";

/** Some models take no smaller limit. */
const MAX_TOKENS = 16;
const TIMEOUT_MS = 30_000;
/** A server that knows it would give this call's answer to the next try of the request before it. */
const IDEMPOTENCY_KEY = /^(x-)?idempotency-key$/i;

/**
 * Asks the model for as little as can be asked, and returns whether it answers: then it is not the provider that fails, but
 * the request before it. A refusal is an answer, too; a limit says neither.
 */
export async function completesLeast(adapter: ProviderAdapter, call: ProviderCall): Promise<boolean> {
  const { request, wire, timeoutMs, onDelta: _, ...rest } = call;
  const { headers = {}, query } = wire ?? {};
  const ownHeaders = Object.entries(headers).filter(([name]) => !IDEMPOTENCY_KEY.test(name));
  try {
    await adapter.complete({
      ...rest,
      request: leastRequest(request),
      wire: { headers: Object.fromEntries(ownHeaders), query },
      requestId: `${call.requestId}-least`,
      timeoutMs: Math.min(timeoutMs, TIMEOUT_MS),
    });
    return true;
  } catch (error) {
    const isUnusable = error instanceof APIConnectionError && error.code === "invalid_response";
    return isUnusable || policyOf(error).provider === "works";
  }
}

/** Of the kind of the request, since a server may have one API and not another. */
function leastRequest({ embedding, responses, anthropic }: ProviderCall["request"]): ProviderCall["request"] {
  const messages = [{ role: "user" as const, content: "ping" }];
  if (embedding) return { messages, embedding: {} };
  return {
    messages,
    ...(responses && { responses: { input: "ping", max_output_tokens: MAX_TOKENS } }),
    ...(anthropic && { anthropic: { messages, max_tokens: MAX_TOKENS } }),
    ...(!responses && !anthropic && { max_tokens: MAX_TOKENS }),
  };
}
