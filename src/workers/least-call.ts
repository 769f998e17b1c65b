import type { ProviderAdapter, ProviderCall, ProviderReply } from "../providers/provider.ts";
import { policyOf } from "../shared/error-policy.ts";
import { APIConnectionError } from "../shared/errors.ts";
import { wireOfSideCall } from "../shared/wire-options.ts";

/** Some models take no smaller limit. */
const MAX_TOKENS = 16;
const TIMEOUT_MS = 30_000;

/**
 * Asks the model for as little as can be asked, and returns whether it answers: then it is not the provider that fails, but
 * the request before it. A refusal is an answer, too; a limit says neither.
 */
export async function completesLeast(
  adapter: ProviderAdapter,
  call: ProviderCall,
  watched: (complete: () => Promise<ProviderReply>) => Promise<ProviderReply> = (complete) => complete(),
): Promise<boolean> {
  const { request, wire, timeoutMs, onDelta: _, ...rest } = call;
  try {
    const least = {
      ...rest,
      request: leastRequest(request),
      wire: wireOfSideCall(wire),
      requestId: `${call.requestId}-least`,
      timeoutMs: Math.min(timeoutMs, TIMEOUT_MS),
    };
    await watched(() => adapter.complete(least));
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
