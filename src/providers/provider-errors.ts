import { z } from "zod";
import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  InvalidRequestError,
  type LLMError,
  OverloadedError,
  RateLimitError,
  TokenLimitError,
} from "../shared/errors.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { Fault } from "./fault.ts";
import { statedUse } from "./usage.ts";
import {
  BAD_KEY,
  CREDIT_USED_UP,
  KEY_CODES,
  MISGENERATED_CODES,
  MODEL_CODES,
  MODEL_IS_GONE,
  MODERATION_CODES,
  MORE_THAN_A_MINUTES_BUDGET,
  NO_ROOM,
  NO_ROOM_CODES,
  OVERLOAD_CODES,
  QUOTA_CODES,
  REFUSED_CONTENT,
  THROTTLE_CODE,
  TOO_LONG,
  TOO_LONG_CODES,
  UNKNOWN_MODEL,
} from "./vendor-words.ts";

/** A parameter, or a value of it, that this model does not have. */
const UNSUPPORTED_CODES = new Set(["unsupported_parameter", "unsupported_value", "unknown_parameter"]);
/** The words of refusals stay out of the errors, which are stored and logged. */
const FAULTS = new WeakMap<object, Fault>();
/** What answers took that cannot be used. */
const PAID = new WeakMap<object, TokenUse>();

type Kind =
  | "quota"
  | "key"
  | "model"
  | "overloaded"
  | "too_long"
  | "over_budget"
  | "rate_limit"
  | "no_room"
  | "moderated"
  | "misgenerated"
  | "redirect"
  | "unsupported"
  | "invalid"
  | "server";

/**
 * Returns the error that a refusal becomes, with our own text. `x-should-retry: false` on a 5xx is not honoured: it
 * steers the SDKs' retries within seconds, while ours come later, are few, and cost less than a lost row.
 */
export function toLLMError(fault: Fault, entry: ProviderEntry, model: string): LLMError {
  const error = errorOf(fault, entry, model);
  FAULTS.set(error, fault);
  return error;
}

/** Returns the refusal that an error stands for, with the provider's words; undefined for any other error. */
export function faultBehind(error: unknown): Fault | undefined {
  return error instanceof Object ? FAULTS.get(error) : undefined;
}

/** Returns what a call took though it failed: an answer came that cannot be used, and states its usage. */
export function paidFor(error: unknown): TokenUse | undefined {
  return error instanceof Object ? PAID.get(error) : undefined;
}

function errorOf(fault: Fault, entry: ProviderEntry, model: string): LLMError {
  const { status, requestId: providerRequestId, retryAfterMs } = fault;
  const answered = `${entry.name} answered ${status}${fault.codes[0] ? ` (${fault.codes[0]})` : ""}`;
  const fields = { status, providerRequestId, providerMessage: fault.said };
  switch (kindOf(fault)) {
    case "quota":
      return new AccountError({
        ...fields,
        message: `${answered}: the account's quota or credit is used up`,
        hint: `add credit or raise the spending limit of the account behind ${entry.keyVariable}`,
      });
    case "key":
      return new AuthenticationError({
        ...fields,
        message: `${answered}: the key is refused`,
        hint: `check ${entry.keyVariable} and what its account may use`,
      });
    case "model":
      return new AccountError({
        ...fields,
        code: "model_not_found",
        message: `${answered}: no model "${model.slice(0, 100)}" for this account at ${originOf(entry)}`,
        hint: `check the model's name, the entry's base URL, and what the account behind ${entry.keyVariable} may use`,
      });
    case "redirect":
      return new AccountError({
        ...fields,
        code: "redirected",
        message: `${answered}: ${originOf(entry)} redirects, and the key is not sent on to another address`,
        hint: `give the entry "${entry.name}" the final address as its base URL`,
      });
    case "overloaded":
      return new OverloadedError({ ...fields, retryAfterMs, message: `${answered}: it is overloaded` });
    case "rate_limit":
      return new RateLimitError({
        ...fields,
        retryAfterMs,
        message: `${answered}: too many requests or tokens per minute`,
        hint: `GLUELLM_LIMITS for ${entry.name}:${model.slice(0, 100)} keeps the fleet below the account's limits`,
      });
    case "no_room":
      return new RateLimitError({
        ...fields,
        code: "no_flex_room",
        retryAfterMs,
        message: `${answered}: the tier flex has no room now`,
      });
    case "too_long":
      return new TokenLimitError({
        ...fields,
        message: `${answered}: prompt and answer do not fit the model's context`,
        hint: "shorten the prompt, ask for fewer tokens, or take a model with a larger context",
      });
    case "over_budget":
      return new TokenLimitError({
        ...fields,
        code: "request_too_large",
        message: `${answered}: the request alone needs more tokens than the account may use in a minute`,
        hint: "shorten the prompt, ask for fewer tokens, or raise the account's limit",
      });
    case "moderated":
      return new InvalidRequestError({
        ...fields,
        code: "content_refused",
        message: `${answered}: the provider's content filter refuses the prompt`,
      });
    case "misgenerated":
      return new APIConnectionError({
        ...fields,
        code: "invalid_response",
        message: `${answered}: it refuses what the model wrote`,
      });
    case "unsupported":
      return new InvalidRequestError({
        ...fields,
        code: "unsupported_parameter",
        ...(fault.param && { context: { parameter: fault.param } }),
        message: `${answered}: ${model.slice(0, 100)} does not take the parameter ${fault.param}, or not this value of it`,
        hint: `leave out ${fault.param}, or let the entry "${entry.name}" do so with dropParameters`,
      });
    case "invalid":
      return new InvalidRequestError({
        ...fields,
        ...(fault.param && { context: { parameter: fault.param } }),
        message: `${answered}: it refuses the request${fault.param ? `, parameter ${fault.param}` : ""}`,
        hint: fault.param ? `correct or leave out ${fault.param}` : "check the request's parameters",
      });
    case "server":
      return new APIConnectionError({
        ...fields,
        code: status === 408 || status === 504 ? "timeout" : "server_error",
        retryAfterMs,
        message: `${answered}: a fault on its side`,
      });
  }
}

/** Returns what a refusal is. Order matters: codes are more exact than the status they come with. */
function kindOf({ status, codes, param, message, moderated }: Fault): Kind {
  const has = (known: ReadonlySet<string>) => codes.some((code) => known.has(code));
  if (status < 400) return "redirect";
  if (status === 402 || has(QUOTA_CODES) || CREDIT_USED_UP.test(message)) return "quota";
  if (status === 529 || has(OVERLOAD_CODES)) return "overloaded";
  // 498 is Groq's.
  if (status === 498 || (status === 429 && (has(NO_ROOM_CODES) || NO_ROOM.test(message)))) return "no_room";
  if (status === 429 || (status < 500 && codes.some((code) => THROTTLE_CODE.test(code))))
    return MORE_THAN_A_MINUTES_BUDGET.test(message) ? "over_budget" : "rate_limit";
  if (status >= 500 || [408, 409, 425, 499].includes(status) || MODEL_IS_GONE.test(message)) return "server";
  if (moderated || has(MODERATION_CODES) || REFUSED_CONTENT.test(message)) return "moderated";
  if (status === 401 || status === 403 || has(KEY_CODES) || BAD_KEY.test(message)) return "key";
  if (status === 404 || has(MODEL_CODES) || UNKNOWN_MODEL.test(message)) return "model";
  if (has(TOO_LONG_CODES) || TOO_LONG.test(message)) return "too_long";
  if (has(MISGENERATED_CODES)) return "misgenerated";
  if (param !== undefined && has(UNSUPPORTED_CODES)) return "unsupported";
  return "invalid";
}

/** Returns the error of an answer that did not come whole: refused, cut off, or not what a provider sends. */
export function connectionError(error: unknown, entry: ProviderEntry, route: string): APIConnectionError {
  if (error instanceof SyntaxError) return unusableAnswer(entry, "its JSON is cut off or malformed");
  if (error instanceof z.ZodError)
    return unusableAnswer(entry, "its stream holds something else than an answer");
  const code = systemCode(error);
  const hasNoFile = code === "EMFILE" || code === "ENFILE";
  return new APIConnectionError({
    message: `the connection to ${entry.name} at ${originOf(entry)} failed${code ? ` (${code})` : ""}, ${route}`,
    hint: hasNoFile
      ? "this process has no file handle left: raise its limit (ulimit -n), or lower GLUELLM_WORKER_CONCURRENCY"
      : `check the network, the base URL of the entry "${entry.name}", HTTPS_PROXY, HTTP_PROXY and NO_PROXY`,
  });
}

/** Returns the error of a success whose body holds no answer. */
export function unusableAnswer(
  entry: ProviderEntry,
  reason: string,
  seen: { statusCode?: number; requestId?: string; data?: unknown } = {},
): APIConnectionError {
  const error = new APIConnectionError({
    code: "invalid_response",
    message: `${entry.name} sent an unusable answer: ${reason}`,
    hint: `if it stays, check that ${originOf(entry)} is the provider and not a proxy's page`,
    status: seen.statusCode,
    providerRequestId: seen.requestId,
  });
  const paid = statedUse(seen.data);
  if (paid) PAID.set(error, paid);
  return error;
}

/** undici's words for a proxy that does not let a call through. */
const PROXY_REFUSAL = /^Proxy (?:response \((\d{3})\)|Authentication Required \((407)\))/;

/**
 * Returns the innermost cause's code, such as ECONNREFUSED, or what a proxy answered; the texts around it may quote what
 * was sent.
 */
function systemCode(error: unknown): string | undefined {
  let found: string | undefined;
  let cause = error;
  for (let depth = 0; depth < 5 && cause instanceof Error; depth++) {
    const [, status, refused = status] = PROXY_REFUSAL.exec(cause.message) ?? [];
    if (refused) return `the proxy answered ${refused}`;
    const { code } = cause as NodeJS.ErrnoException;
    if (typeof code === "string" && /^[A-Z_]{1,60}$/.test(code)) found = code;
    cause = cause.cause;
  }
  return found;
}

function originOf(entry: ProviderEntry): string {
  return URL.canParse(entry.baseUrl) ? new URL(entry.baseUrl).origin : "its base URL";
}
