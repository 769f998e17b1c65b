import { fieldsOf } from "../shared/json.ts";
import { durationMs, retryAfterMs } from "./retry-after.ts";
import {
  MISGENERATED_CODES,
  MODERATION_CODES,
  statedError,
  THROTTLE_CODE,
  TOO_LONG_CODES,
} from "./vendor-words.ts";

/** A provider's refusal, whatever its dialect, in the few facts that decide what happens next. */
export interface Fault {
  status: number;
  /** The machine-readable words: `code`, `type`, Anthropic's `error_code`, Google's `status` and reasons. */
  codes: string[];
  /** The parameter that it blames. */
  param?: string;
  /** The provider's raw text: read to classify. */
  message: string;
  /** All that it said, for the caller alone, since it may quote the prompt. */
  said: string;
  requestId?: string;
  retryAfterMs?: number;
  /** Whether the provider's filter refused this request's content. */
  moderated: boolean;
}

type Fields = Record<string, unknown>;

/** The statuses of error words: https://docs.anthropic.com/en/api/errors, and OpenAI's words for the same. */
const STREAM_STATUSES: Record<string, number> = {
  invalid_request_error: 400,
  context_length_exceeded: 400,
  authentication_error: 401,
  billing_error: 402,
  insufficient_quota: 429,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  invalid_prompt: 400,
  1302: 429,
  1303: 429,
  1305: 429,
  timeout_error: 504,
  overloaded_error: 529,
};
const DEFAULT_STREAM_STATUS = 502;
/** The words of Responses for pictures that cannot be read, and for what its policies refuse. */
const REFUSED_INPUT = /(^|_)image(_|$)|_policy(_|$)|^data_residency/;
const REFUSAL_CODES = new Set([...MODERATION_CODES, ...TOO_LONG_CODES, ...MISGENERATED_CODES]);
const MAX_PAGE_CHARS = 20_000;

/** What gateways and the simulator put in front of the text: `[name]`, `litellm.BadRequestError: OpenAIException -`. */
const SENDER_TAG = /^(\[[\w .-]{1,40}\] |([\w.]{1,60}(Error|Exception)(:| -) )+)/;
const SAFE_WORD = /^[\w.[\]-]{1,80}$/;
/** The parameter at the start of Anthropic's texts, which name it nowhere else: `messages.0.content: …`. */
const NAMED_FIRST =
  /^`?((?:messages|system|tools|tool_choice|max_tokens|temperature|top_p|stop_sequences|metadata|output_config)[\w.-]{0,60})`?[: ]/;

/**
 * Returns the refusal in an SDK's error, which has a status, or none when it came in the middle of a stream; undefined
 * for any other error.
 */
export function readFault(error: unknown): Fault | undefined {
  const { status, headers, error: body, message: text, requestID } = fieldsOf(error);
  const answered = headers instanceof Object ? (headers as Headers) : undefined;
  if (typeof status === "number")
    return faultOf(status, answered ?? new Headers(), body ?? pageText(text), requestID);
  if (!answered || body === undefined) return undefined;
  const fault = faultOf(DEFAULT_STREAM_STATUS, answered, body, requestID);
  return { ...fault, status: streamStatus(body, fault.codes) };
}

/** Returns the text of a refusal that is no JSON, such as a firewall's page, which the SDKs put behind the status. */
function pageText(text: unknown): string | undefined {
  if (typeof text !== "string" || text.endsWith("(no body)")) return undefined;
  const page = text.slice(0, MAX_PAGE_CHARS).replace(/^\d{3} /, "");
  return page.replace(/<(style|script)\b.*?<\/\1>|<[^>]*>/gis, " ").trim();
}

/** Returns the status that an error event in a stream would have had as an answer of its own. */
function streamStatus(body: unknown, codes: string[]): number {
  const stated = Number(innermost(body).code);
  if (stated >= 400 && stated < 600) return stated;
  if (codes.some((code) => THROTTLE_CODE.test(code))) return 429;
  const isRefused = (code: string) => REFUSED_INPUT.test(code) || REFUSAL_CODES.has(code);
  if (codes.some(isRefused)) return 400;
  return codes.map((code) => STREAM_STATUSES[code]).find((status) => status) ?? DEFAULT_STREAM_STATUS;
}

/** Returns the refusal inside an answer with status 200, as OpenRouter sends them once the upstream call has begun. */
export function faultInBody(data: unknown, headers: Headers, requestId: string): Fault | undefined {
  const stated = statedError(data);
  if (stated === undefined) return undefined;
  const fault = faultOf(DEFAULT_STREAM_STATUS, headers, stated, requestId);
  return { ...fault, status: streamStatus(stated, fault.codes) };
}

function faultOf(status: number, headers: Headers, body: unknown, requestId: unknown): Fault {
  const fields = innermost(body);
  const details = detailsOf(fields);
  const message = typeof fields.message === "string" ? fields.message.replace(SENDER_TAG, "") : "";
  const codes = [
    fields.code,
    fields.type,
    fields.status,
    fields.__type,
    ...details.flatMap(({ error_code, reason }) => [error_code, reason]),
  ];
  const metadata = fieldsOf(fields.metadata);
  return {
    status,
    codes: codes.filter(isSafeWord),
    param: isSafeWord(fields.param) ? fields.param : NAMED_FIRST.exec(message)?.[1],
    message,
    said: [message || textOf(body), upstreamText(metadata)].filter(Boolean).join(": "),
    requestId: isSafeWord(requestId) ? requestId : undefined,
    retryAfterMs: retryAfterMs(headers) ?? retryDelay(details) ?? retryAfterMs(headersIn(metadata)),
    moderated: "flagged_input" in metadata || "reasons" in metadata,
  };
}

/** Returns the error within `{error: …}`, Google's one-element array, and xAI's bare text. */
function innermost(body: unknown): Fields {
  let value = body;
  for (let depth = 0; depth < 3; depth++) {
    if (Array.isArray(value)) value = value[0];
    const { error } = fieldsOf(value);
    if (error == null) break;
    value = error;
  }
  return typeof value === "string" ? { message: value } : fieldsOf(value);
}

/** Returns a body that has no message as text. */
function textOf(body: unknown): string {
  return typeof body === "string" || body == null ? (body ?? "") : JSON.stringify(body);
}

/** Returns what a router's upstream said, where it hands that on. */
function upstreamText({ raw }: Fields): string | undefined {
  return typeof raw === "string" ? raw : undefined;
}

/** Returns the details of an error: Anthropic has one object of them, Google a list. */
function detailsOf({ details }: Fields): Fields[] {
  return (Array.isArray(details) ? details.slice(0, 20) : [details]).map(fieldsOf);
}

/** Returns the headers that a router states in the body of its refusal, for itself or its upstream. */
function headersIn({ headers }: Fields): Headers {
  const stated = Object.entries(fieldsOf(headers)).filter(
    ([name, value]) => /^[\w-]{1,80}$/.test(name) && /^[\x20-\x7e]{1,80}$/.test(String(value)),
  );
  return new Headers(stated.map(([name, value]) => [name, String(value)]));
}

/** Returns the milliseconds of Google's RetryInfo, the only place where it says how long to wait. */
function retryDelay(details: Fields[]): number | undefined {
  const text = details.map((detail) => detail.retryDelay).find((delay) => typeof delay === "string");
  const millis = durationMs(text);
  return millis > 0 ? Math.ceil(millis) : undefined;
}

function isSafeWord(value: unknown): value is string {
  return typeof value === "string" && SAFE_WORD.test(value);
}
