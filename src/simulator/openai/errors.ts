import type { ErrorAnswer, Refusal } from "../dialect.ts";
import type { ErrorFault } from "../faults.ts";
import type { LimitRefusal, LimitScope } from "../limits.ts";
import { goDuration } from "./limit-headers.ts";

interface OpenAIError {
  status: number;
  type: string;
  code: string | null;
  message: string;
  param?: string | undefined;
  headers?: Record<string, string>;
}

const LIMIT_UNITS: Record<LimitScope, string> = {
  requests: "requests per min (RPM)",
  tokens: "tokens per min (TPM)",
  "input-tokens": "input tokens per min (ITPM)",
  "output-tokens": "output tokens per min (OTPM)",
};
const NEVER_RETRY = { "x-should-retry": "false" };

/** Returns `{error: {message, type, param, code}}` with the status and headers OpenAI gives it. */
export function errorAnswer(refusal: Refusal): ErrorAnswer {
  const { status, type, code, message, param = null, headers = {} } = errorOf(refusal);
  return { status, headers, body: { error: { message: `[simulated] ${message}`, type, param, code } } };
}

function errorOf(refusal: Refusal): OpenAIError {
  switch (refusal.kind) {
    case "fault":
      return { ...faultError(refusal.fault, refusal.model), ...retryHeaders(refusal.retryAfterMs) };
    case "limit":
      return limitError(refusal.model, refusal.limit);
    case "invalid":
      return { ...invalid(refusal.status ?? 400, null, refusal.message), param: refusal.param };
    case "no_flex_room":
      return { status: 429, type: "requests", code: "resource_unavailable", message: "Resource Unavailable" };
    case "body_too_large":
      return invalid(413, null, `The body is larger than ${refusal.maxBytes} bytes.`);
    case "no_such_path":
      return invalid(404, "unknown_url", `Unknown request URL: ${refusal.path}`);
    case "wrong_method":
      return invalid(405, null, `${refusal.method} is not allowed on ${refusal.path}`);
    case "internal":
      return serverError(500, `The simulator itself failed: ${refusal.reason}`);
  }
}

function faultError(fault: ErrorFault, model: string): OpenAIError {
  switch (fault) {
    case "400":
      return invalid(400, "invalid_value", "Invalid value (injected).");
    case "401":
      return invalid(401, "invalid_api_key", "Incorrect API key provided.");
    case "403":
      return invalid(403, null, "You are not allowed to use this resource.");
    case "404":
      return invalid(
        404,
        "model_not_found",
        `The model \`${model}\` does not exist or you do not have access to it.`,
      );
    case "429":
      return rateLimit("requests", `Rate limit reached for ${model} (injected).`);
    case "500":
      return serverError(500, "The server had an error while processing your request. Sorry about that!");
    case "503":
    case "529":
      return serverError(Number(fault), "The engine is currently overloaded, please try again later.");
    case "insufficient_quota": {
      const message = "You exceeded your current quota, please check your plan and billing details.";
      return { status: 429, type: fault, code: fault, message, headers: NEVER_RETRY };
    }
    case "context_length_exceeded":
      return {
        ...invalid(400, fault, "This model's maximum context length is exceeded."),
        param: "messages",
      };
  }
}

function limitError(
  model: string,
  { scope, perMinute, capacity, requested, waitMs }: LimitRefusal,
): OpenAIError {
  const type = scope === "requests" ? "requests" : "tokens";
  const amounts = `on ${LIMIT_UNITS[scope]}: Limit ${perMinute} (bucket ${Math.floor(capacity)}), Requested ${requested}.`;
  if (waitMs === Number.POSITIVE_INFINITY) {
    const advice = "The input or output tokens must be reduced in order to run successfully.";
    return {
      ...rateLimit(type, `Request too large for ${model} ${amounts} ${advice}`),
      headers: NEVER_RETRY,
    };
  }
  const advice = `Please try again in ${goDuration(waitMs)}.`;
  return {
    ...rateLimit(type, `Rate limit reached for ${model} ${amounts} ${advice}`),
    ...retryHeaders(waitMs),
  };
}

function retryHeaders(waitMs: number | undefined): { headers?: Record<string, string> } {
  if (waitMs === undefined) return {};
  return {
    headers: { "retry-after-ms": String(Math.ceil(waitMs)), "retry-after": String(Math.ceil(waitMs / 1000)) },
  };
}

function invalid(status: number, code: string | null, message: string): OpenAIError {
  return { status, type: "invalid_request_error", code, message };
}

function rateLimit(type: string, message: string): OpenAIError {
  return { status: 429, type, code: "rate_limit_exceeded", message };
}

function serverError(status: number, message: string): OpenAIError {
  return { status, type: "server_error", code: null, message };
}
