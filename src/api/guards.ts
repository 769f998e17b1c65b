import type { Request, RequestHandler } from "express";
import { ConfigurationError } from "../shared/errors.ts";
import { hostnameOf } from "../shared/host-name.ts";
import { isLoopback } from "../shared/loopback.ts";
import { ApiError } from "./api-error.ts";

/** Where the API listens, and who may reach it. */
export interface AccessRules {
  host: string;
  /** Host names under which a proxy on this machine is reached, beside those of loopback. */
  allowedHosts: readonly string[];
  /** Origins of the web pages that may call. */
  corsOrigins: readonly string[];
  /** Whether requests need a key; false on loopback alone. */
  isAuthRequired: boolean;
}

/** Headers by which a proxy says for whom it asks. */
const FORWARDED = /^(forwarded|x-forwarded-.*|x-real-ip|via|cf-connecting-ip|true-client-ip)$/;
const ALLOWED_HEADERS =
  "authorization, content-type, idempotency-key, x-api-key, x-request-id, traceparent, tracestate";
const MAX_AGE_SECONDS = "600";

/** @throws ConfigurationError when others than this machine could call without a key. */
export function requireLoopbackWithoutKeys({ host, isAuthRequired }: AccessRules): void {
  if (isAuthRequired || isLoopback(host)) return;
  throw new ConfigurationError(
    `without keys the API on ${host} would be open to everyone who reaches that address`,
    "leave out --no-auth, or listen on 127.0.0.1",
    "api_open",
  );
}

/**
 * Refuses what a web page of somebody else could send through a browser on this machine: by DNS rebinding (`Host`) or across
 * sites (`Origin`). On an address that others reach the key alone decides, and any host name will do.
 */
export function guardAccess(rules: AccessRules): RequestHandler {
  return (request, _response, next) => {
    if (!isOwnHost(request, rules))
      throw new ApiError({
        status: 403,
        code: "forbidden_host",
        message: "this host name is not the API's",
        hint: "use 127.0.0.1, or name the host in GLUELLM_API_ALLOWED_HOSTS",
      });
    if (!isOwnOrigin(request, rules))
      throw new ApiError({
        status: 403,
        code: "forbidden_origin",
        message: "web pages of this origin may not call the API",
        hint: "name the origin in GLUELLM_API_CORS_ORIGINS",
      });
    if (!rules.isAuthRequired && Object.keys(request.headers).some((name) => FORWARDED.test(name)))
      throw new ApiError({
        status: 403,
        code: "forwarded_without_keys",
        message: "a proxy forwards this request, and the API runs without keys",
        hint: "start it without --no-auth",
      });
    next();
  };
}

/** Removes the header by which proxies of the dashboard say who somebody is: here a key alone counts. */
export function removeIdentity(userHeader: string | undefined): RequestHandler {
  return (request, _response, next) => {
    if (userHeader !== undefined) delete request.headers[userHeader];
    next();
  };
}

/** Answers browsers of listed origins; others get no CORS header at all. */
export function answerCors({ corsOrigins }: AccessRules): RequestHandler {
  return (request, response, next) => {
    const { origin } = request.headers;
    if (origin === undefined || !corsOrigins.includes(origin)) return next();
    response.set("access-control-allow-origin", origin);
    response.set("access-control-expose-headers", "x-request-id, retry-after, retry-after-ms");
    response.vary("origin");
    if (request.method !== "OPTIONS") return next();
    response.set("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE");
    const asked = request.headers["access-control-request-headers"];
    const names = /^[\w, -]{1,2000}$/.test(asked ?? "") ? asked : ALLOWED_HEADERS;
    response.set("access-control-allow-headers", names ?? ALLOWED_HEADERS);
    response.set("access-control-max-age", MAX_AGE_SECONDS);
    response.status(204).end();
  };
}

function isOwnHost({ headers }: Request, { host, allowedHosts }: AccessRules): boolean {
  if (!isLoopback(host)) return true;
  const named = hostnameOf(headers.host);
  return named !== undefined && (isLoopback(named) || allowedHosts.includes(named));
}

function isOwnOrigin({ headers }: Request, { corsOrigins }: AccessRules): boolean {
  const { origin } = headers;
  if (origin === undefined || corsOrigins.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === headers.host?.toLowerCase();
}
