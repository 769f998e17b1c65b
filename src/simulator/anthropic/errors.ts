import type { ErrorAnswer, Refusal } from "../dialect.ts";
import type { ErrorFault } from "../faults.ts";
import type { LimitRefusal } from "../limits.ts";

interface AnthropicError {
  status: number;
  type: string;
  message: string;
  headers?: Record<string, string>;
}

/** Returns `{type: "error", error: {type, message}, request_id}` with the status and headers Anthropic gives it. */
export function errorAnswer(refusal: Refusal, requestId: string): ErrorAnswer {
  const { status, type, message, headers = {} } = errorOf(refusal);
  const error = { type, message: `[simulated] ${message}` };
  return { status, headers, body: { type: "error", error, request_id: requestId } };
}

function errorOf(refusal: Refusal): AnthropicError {
  switch (refusal.kind) {
    case "fault":
      return { ...faultError(refusal.fault, refusal.model), ...retryHeaders(refusal.retryAfterMs) };
    case "limit":
      return limitError(refusal.limit);
    case "invalid":
      return refusal.status === 404
        ? { status: 404, type: "not_found_error", message: refusal.message }
        : invalid(refusal.message);
    case "no_flex_room":
      // Anthropic has no such lane, so that no call gets here.
      return { status: 429, type: "rate_limit_error", message: "Resource Unavailable" };
    case "body_too_large":
      return {
        status: 413,
        type: "request_too_large",
        message: `Request exceeds the maximum size of ${refusal.maxBytes} bytes`,
      };
    case "no_such_path":
      return { status: 404, type: "not_found_error", message: `Not found: ${refusal.path}` };
    case "wrong_method":
      return {
        status: 405,
        type: "invalid_request_error",
        message: `${refusal.method} is not allowed on ${refusal.path}`,
      };
    case "internal":
      return { status: 500, type: "api_error", message: `The simulator itself failed: ${refusal.reason}` };
  }
}

function faultError(fault: ErrorFault, model: string): AnthropicError {
  switch (fault) {
    case "400":
      return invalid("Invalid request (injected)");
    case "401":
      return { status: 401, type: "authentication_error", message: "invalid x-api-key" };
    case "403":
      return { status: 403, type: "permission_error", message: "Your API key may not use this resource" };
    case "404":
      return { status: 404, type: "not_found_error", message: `model: ${model}` };
    case "429":
      return rateLimit("This request would exceed your organization's rate limit (injected).");
    case "500":
      return { status: 500, type: "api_error", message: "Internal server error" };
    case "503":
      return { status: 503, type: "api_error", message: "Service unavailable" };
    case "529":
      return { status: 529, type: "overloaded_error", message: "Overloaded" };
    case "insufficient_quota":
      // Anthropic has no code of its own for this, only the text.
      return invalid(
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
      );
    case "context_length_exceeded":
      return invalid("prompt is too long: 200001 tokens > 200000 maximum");
  }
}

function limitError({ scope, perMinute, capacity, requested, waitMs }: LimitRefusal): AnthropicError {
  const message = `This request would exceed the rate limit for your organization of ${perMinute} ${scope.replace("-", " ")} per minute (bucket ${Math.floor(capacity)}, requested ${requested}).`;
  if (waitMs === Number.POSITIVE_INFINITY) {
    return {
      ...rateLimit(`${message} Please reduce the prompt length or the maximum tokens requested.`),
      headers: { "x-should-retry": "false" },
    };
  }
  return { ...rateLimit(`${message} Please try again later.`), ...retryHeaders(waitMs) };
}

/** Returns the wait in whole seconds, rounded up: Anthropic has no header in milliseconds. */
function retryHeaders(waitMs: number | undefined): { headers?: Record<string, string> } {
  return waitMs === undefined ? {} : { headers: { "retry-after": String(Math.ceil(waitMs / 1000)) } };
}

function invalid(message: string): AnthropicError {
  return { status: 400, type: "invalid_request_error", message };
}

function rateLimit(message: string): AnthropicError {
  return { status: 429, type: "rate_limit_error", message };
}
