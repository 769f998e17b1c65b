import type { ErrorRequestHandler, Request, Response } from "express";
import type { z } from "zod";
import { privatePartsOf } from "../shared/error-record.ts";
import { type ErrorCategory, GlueError } from "../shared/errors.ts";
import type { ApiContext } from "./context.ts";
import type { VendorDialect } from "./route.ts";

/*
 * The one writer of errors. What is thrown below a route becomes the error body that clients of the route's vendor parse:
 * status, type, code, param, a message with its hint, and whether to come again.
 */

interface ApiErrorFields {
  status: number;
  code: string;
  message: string;
  hint?: string;
  /** The parameter that is at fault: `messages[0].content`. */
  param?: string;
  /** OpenAI's word for the kind; default: by the status. */
  type?: string;
  retryAfterMs?: number;
}

/** What the API itself refuses; the status is that of the answer. */
export class ApiError extends GlueError {
  readonly param: string | undefined;
  readonly type: string | undefined;
  readonly answerStatus: number;

  constructor({ status, param, type, ...fields }: ApiErrorFields) {
    super({ category: status === 429 ? "rate_limit" : status < 500 ? "input" : "connection", ...fields });
    this.answerStatus = status;
    this.param = param;
    this.type = type;
  }
}

/** The object is not there, or another tenant's: both look the same. */
export function notFound(what: string, id: string): ApiError {
  return new ApiError({
    status: 404,
    code: "not_found",
    message: `no ${what} "${id.slice(0, 100)}"`,
    hint: "check the id; objects expire, and each key sees those of its tenant only",
  });
}

/** Returns the error of a parameter that cannot be honoured. */
export function badParameter(
  param: string,
  message: string,
  hint?: string,
  code = "invalid_value",
): ApiError {
  return new ApiError({ status: 400, code, param, message, hint });
}

/** Returns the error of what a schema refused, naming the first parameter at fault. */
export function schemaError(error: z.ZodError): ApiError {
  const [issue] = error.issues;
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const path = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])];
  const param = pathText(path);
  const told = issue?.message ?? "is not valid";
  const missing = /^Invalid input: expected (.+), received undefined$/.exec(told)?.[1];
  const given = missing === undefined ? told : `is missing; expected ${missing}`;
  const what = unknown === undefined ? given : "is not known";
  return badParameter(param || "body", `${param || "the body"}: ${what}`, undefined, "invalid_request");
}

function pathText(path: readonly PropertyKey[]): string {
  const steps = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`));
  return steps.join("").replace(/^\./, "").slice(0, 200);
}

/** An error as the answer has it. */
export interface ErrorAnswer {
  status: number;
  type: string;
  code: string;
  param: string | null;
  message: string;
  /** Whether the same request may succeed later. */
  isRetryable: boolean;
  retryAfterMs?: number;
}

const BY_CATEGORY: Readonly<Record<ErrorCategory, number>> = {
  input: 400,
  // What the operator has to mend is no fault of the caller's, and none of the server's code.
  configuration: 503,
  authentication: 503,
  account: 402,
  rate_limit: 429,
  connection: 503,
  provider: 400,
  cancelled: 409,
  internal: 500,
};

/** Codes whose status is not that of their category. */
const BY_CODE: Readonly<Record<string, number>> = {
  unknown_model: 404,
  unknown_provider: 404,
  unknown_conversation: 404,
  job_lost: 404,
  unknown_workflow: 404,
  unknown_schedule: 404,
  unknown_webhook: 404,
  unknown_event: 404,
  unknown_query: 404,
  unknown_queue: 404,
  job_not_failed: 409,
  nothing_to_retry: 409,
  input_gone: 409,
  run_not_failed: 409,
  run_conflict: 409,
  run_over: 409,
  singleton_running: 409,
  schedule_taken: 409,
  webhook_disabled: 409,
  idempotency_conflict: 409,
  conversation_in_use: 409,
  structured_output: 422,
  circuit_open: 503,
  client_closed: 503,
  deadline_exceeded: 503,
  corrupt_data: 503,
  worker_lost: 503,
  result_timeout: 503,
  blob_lost: 503,
};
/** Parameters that errors of our own are about. */
const PARAMS: Readonly<Record<string, string>> = {
  unknown_model: "model",
  unknown_provider: "model",
  missing_key: "model",
  unpriced_model: "model",
  empty_prompt: "messages",
  context_length_exceeded: "messages",
  budget_exceeded: "messages",
};
const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  402: "insufficient_quota",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** Returns what is answered for an error; one that is not of ours is told as `internal`, since its text may quote data. */
export function toErrorAnswer(error: unknown): ErrorAnswer {
  if (isRedisFault(error)) return unavailable("redis_unavailable", "Redis does not answer");
  if (!(error instanceof GlueError)) {
    const [type, code] = ["server_error", "internal"];
    return {
      status: 500,
      type,
      code,
      param: null,
      message: "internal error; see the server's log",
      isRetryable: false,
    };
  }
  const status = statusOf(error);
  const own = error instanceof ApiError ? error : undefined;
  const { providerMessage } = privatePartsOf(error);
  const said = providerMessage ? ` (the provider said: ${providerMessage})` : "";
  return {
    status,
    type: own?.type ?? TYPES[status] ?? (status >= 500 ? "server_error" : "invalid_request_error"),
    code: error.code,
    param: (own ? own.param : (PARAMS[error.code] ?? namedParam(error.message))) ?? null,
    message: `${error.message}${said}${error.hint ? `: ${error.hint}` : ""}`,
    isRetryable:
      status === 429 || (status >= 500 && !["configuration", "authentication"].includes(error.category)),
    retryAfterMs: error.retryAfterMs ?? (status === 503 ? 1000 : undefined),
  };
}

/** `the request is wrong at stop: …` names what is wrong. */
function namedParam(message: string): string | undefined {
  const name =
    /\b(?:(?:is|are) wrong at|cannot honour|the request, parameter) ([\w.[\]-]{1,200})/.exec(message)?.[1] ??
    /\bUnrecognized key: "([\w.-]{1,200})"/.exec(message)?.[1];
  return name?.replace(/^extra\./, "").replace(/\.(\d+)(?=\.|$)/g, "[$1]");
}

function statusOf(error: GlueError): number {
  if (error instanceof ApiError) return error.answerStatus;
  const status = BY_CODE[error.code] ?? BY_CATEGORY[error.category];
  // A model that the provider does not have is the caller's word; its quota is not.
  return error.category === "account" && error.status === 404 ? 404 : status;
}

function unavailable(code: string, message: string): ErrorAnswer {
  return {
    status: 503,
    type: "server_error",
    code,
    param: null,
    message,
    isRetryable: true,
    retryAfterMs: 1000,
  };
}

/** Faults of the connection, and what Redis refuses while it loads, is full or changes its role. */
function isRedisFault(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof GlueError) return false;
  const text = `${error.name} ${error.message}`;
  return /MaxRetriesPerRequest|Connection is closed|ECONNREFUSED|ECONNRESET|ReplyError .*(LOADING|OOM|READONLY|MISCONF)/.test(
    text,
  );
}

/** Anthropic's words for a status that has one of its own. */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = { 402: "billing_error", 413: "request_too_large" };

/** Returns whose words a client reads: Anthropic's say so by a header, whatever the path. */
export function dialectFor({ headers }: Pick<Request, "headers">, dialect: VendorDialect): VendorDialect {
  return headers["anthropic-version"] === undefined ? dialect : "anthropic";
}

/** Returns the body of an error in the words of a vendor. */
export function errorBody(
  { status, type, code, param, message, isRetryable }: ErrorAnswer,
  dialect: VendorDialect,
  requestId: string,
): object {
  if (dialect === "openai") return { error: { message, type, param, code } };
  const kind = ANTHROPIC_TYPES[status] ?? (status === 503 && isRetryable ? "overloaded_error" : undefined);
  return {
    type: "error",
    error: { type: kind ?? type.replace("server_error", "api_error"), message },
    request_id: requestId,
  };
}

/** Sends an error, once. */
export function sendError(response: Response, error: unknown, dialect: VendorDialect): ErrorAnswer {
  const answer = toErrorAnswer(error);
  response.status(answer.status);
  if (answer.retryAfterMs !== undefined) {
    response.set("retry-after-ms", String(Math.ceil(answer.retryAfterMs)));
    response.set("retry-after", String(Math.ceil(answer.retryAfterMs / 1000)));
  }
  response.set("x-should-retry", String(answer.isRetryable));
  if (answer.status === 401) response.set("www-authenticate", 'Bearer realm="gluellm"');
  response.set("content-type", "application/json; charset=utf-8");
  response.json(errorBody(answer, dialect, String(response.getHeader("x-request-id") ?? "")));
  return answer;
}

/** What no route has caught: of middleware, of express, or a bug. */
export function lastErrorHandler(
  { logger }: Pick<ApiContext, "logger">,
  dialect: VendorDialect = "openai",
): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const { status, code } = sendError(response, ofExpress(error), dialectFor(request, dialect));
    const requestId = response.getHeader("x-request-id");
    if (status === 500)
      logger.error({ err: error, path: request.path, requestId }, "a request failed: this is a bug");
    else logger.debug({ status, code, path: request.path, requestId }, "a request was refused");
  };
}

/** The errors of express have a status, and a text that may quote the request. */
function ofExpress(error: unknown): unknown {
  const { status, type } = (error ?? {}) as { status?: unknown; type?: unknown };
  if (error instanceof GlueError || typeof status !== "number" || status >= 500) return error;
  const code = typeof type === "string" ? type.replaceAll(".", "_") : "bad_request";
  const messages: Record<string, string> = {
    entity_too_large: "the body is too large",
    encoding_unsupported: "the content-encoding is not supported",
    request_aborted: "the request broke off",
  };
  return new ApiError({ status, code, message: messages[code] ?? "the request cannot be read" });
}
