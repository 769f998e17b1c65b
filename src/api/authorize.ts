import type { Request } from "express";
import { readToken } from "../shared/api-token.ts";
import { type KnownCaller, OWNER, type Principal, type ShownKey } from "../shared/principal.ts";
import { usd } from "../shared/usd.ts";
import { admitRequest, type KeyAdmission } from "../store/api-key.ts";
import type { Store } from "../store/store.ts";
import { ApiError } from "./api-error.ts";

/** A request that Redis does not decide over in this time is told to come again. */
const REDIS_TIMEOUT_MS = 5000;

interface AuthorizerOptions {
  store: Store;
  /** Whether requests need a key; default true. */
  isAuthRequired?: boolean;
  /** Returns whose request it is where something beside a key says so. */
  knownCaller?: KnowCaller;
}

/** Returns who a request is from when something beside a key says so, such as a session of the dashboard. */
export type KnowCaller = (request: Request) => KnownCaller | undefined;

/**
 * Returns what finds out whose key a request has. It takes one round trip to Redis, and caches nothing. Wrong keys are not
 * throttled: nobody finds 256 random bits by trying, and behind a proxy one caller's mistakes would shut out all.
 */
export function authorizer({
  store,
  isAuthRequired = true,
  knownCaller = () => undefined,
}: AuthorizerOptions) {
  /** @throws ApiError 401, 402, 429, or 503 when Redis does not answer */
  return async (request: Request): Promise<Principal> => {
    const caller = isAuthRequired ? (knownCaller(request) ?? keyOf(request)) : OWNER;
    if ("tenant" in caller) return caller;
    const isCounted = request.method !== "GET" && request.method !== "HEAD";
    const admission = await inTime(admitRequest(store, caller, isCounted));
    if (admission.outcome !== "admitted") throw refusal(admission);
    const { tenant, scopes, hasCostLimit } = admission;
    return { keyId: caller.keyId, tenant, scopes, hasCostLimit };
  };
}

/** @throws ApiError 401 */
function keyOf(request: Request): ShownKey {
  const shown = shownBy(request);
  if (shown === undefined) throw unauthorized("no key was sent", "no_api_key");
  const key = readToken(shown);
  if (!key) throw unauthorized("this is no key of this API", "invalid_api_key");
  return key;
}

/** OpenAI's clients send a bearer, Anthropic's `x-api-key`. */
function shownBy({ headers }: Request): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  const key = headers["x-api-key"];
  return bearer ?? (typeof key === "string" && key !== "" ? key : undefined);
}

/** A plain timer: an aborted one would cost each request the making of two errors. */
async function inTime(admission: Promise<KeyAdmission>): Promise<KeyAdmission> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, REDIS_TIMEOUT_MS);
  });
  const first = await Promise.race([admission, late]).finally(() => clearTimeout(timer));
  if (first) return first;
  admission.catch(() => {});
  throw new ApiError({
    status: 503,
    code: "redis_unavailable",
    message: "Redis does not answer",
    hint: "try again",
    retryAfterMs: 1000,
  });
}

function refusal(admission: Exclude<KeyAdmission, { outcome: "admitted" }>): ApiError {
  switch (admission.outcome) {
    case "unknown":
      return unauthorized("this is no key of this API", "invalid_api_key");
    case "revoked":
      return unauthorized("this key was revoked", "revoked_api_key");
    case "expired":
      return unauthorized("this key has expired", "expired_api_key");
    case "limited":
      return new ApiError({
        status: 429,
        code: "key_rate_limit",
        message: "this key's requests per minute are used up",
        retryAfterMs: admission.retryAfterMs,
      });
    case "spent":
      return new ApiError({
        status: 402,
        code: "key_cost_limit",
        message: `${usd(admission.spentUsd)} of this key's ${usd(admission.maxCostUsd)} are spent`,
        hint: "take a key with a higher limit: gluellm keys create --max-usd",
      });
  }
}

function unauthorized(message: string, code: string): ApiError {
  const hint = "send Authorization: Bearer gk_…; gluellm keys create makes one";
  return new ApiError({ status: 401, code, message, hint });
}
