import type { Request, RequestHandler } from "express";
import { ConfigurationError } from "../src/shared/errors.ts";
import { bracketed, hostnameOf, isWildcard } from "../src/shared/host-name.ts";
import { isLoopback } from "../src/shared/loopback.ts";
import type { SsoRules } from "../src/shared/sso-setting.ts";
import { refuse } from "./refuse.ts";

/** Where the dashboard listens and what a caller has to know. */
export interface AccessRules {
  host: string;
  /** Opens it as HTTP basic authentication, with any user name, or at the login. */
  password?: string;
  /** Without a password: what the link to the dashboard holds (see `dashboardToken`); absent: who is on this machine. */
  token?: string;
  /** How a proxy says who somebody is; absent: none does. */
  sso?: SsoRules | undefined;
  /** Further host names under which it is reached, such as that of a proxy on this machine. */
  allowedHosts?: readonly string[];
}

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** @throws ConfigurationError when others than this machine could reach a dashboard without a password or single sign-on. */
export function requirePassword({ host, password, sso }: AccessRules): void {
  if (isLoopback(host) || password || sso) return;
  throw new ConfigurationError(
    `the dashboard on ${host} would be open to everyone who reaches that address`,
    "set GLUELLM_DASHBOARD_PASSWORD (at least 8 characters) or GLUELLM_SSO_USER_HEADER, or GLUELLM_DASHBOARD_HOST=127.0.0.1",
    "dashboard_open",
  );
}

/**
 * Refuses what a foreign web page could send through a visitor's browser (DNS rebinding by its Host, request
 * forgery by its Origin).
 */
export function guardAccess(rules: AccessRules): RequestHandler {
  return (request, response, next) => {
    if (!isOwnHost(request.headers.host, rules)) {
      refuse(response, 403, "forbidden_host", "this host name is not the dashboard's");
    } else if (!isOwnOrigin(request)) {
      refuse(response, 403, "forbidden_origin", "the request comes from another site");
    } else next();
  };
}

/** Returns whether a request may change something. */
export function isChange({ method }: Request): boolean {
  return !SAFE_METHODS.has(method);
}

function isOwnHost(
  header: string | undefined,
  { host, password, sso, allowedHosts = [] }: AccessRules,
): boolean {
  const named = hostnameOf(header);
  if (named === undefined) return false;
  if (isLoopback(named) || named === hostnameOf(bracketed(host)) || allowedHosts.includes(named)) return true;
  return isWildcard(host) && (password !== undefined || sso !== undefined);
}

/** Programs send neither header; browsers send Origin with every request that changes something. */
function isOwnOrigin(request: Request): boolean {
  const { headers } = request;
  if (headers.origin !== undefined && hostAndPortOf(headers.origin) !== headers.host?.toLowerCase())
    return false;
  const site = headers["sec-fetch-site"];
  return !isChange(request) || site === undefined || site === "same-origin";
}

function hostAndPortOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
