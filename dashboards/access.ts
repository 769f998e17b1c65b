import { timingSafeEqual } from "node:crypto";
import type { Request, RequestHandler } from "express";
import { rateLimit } from "express-rate-limit";
import { sha256 } from "../src/shared/digest.ts";
import { ConfigurationError } from "../src/shared/errors.ts";
import { bracketed, hostnameOf, isWildcard } from "../src/shared/host-name.ts";
import type { Logger } from "../src/shared/logger.ts";
import { isLoopback } from "../src/shared/loopback.ts";
import { guardByLink } from "./link.ts";

/** Where the dashboard listens and what a caller has to know. */
export interface AccessRules {
  host: string;
  /** HTTP basic authentication with any user name. */
  password?: string;
  /** Without a password: what the link to the dashboard holds (see `dashboardToken`); absent: who is on this machine. */
  token?: string;
}

/** Wrong passwords that an address may try in a minute. */
const MAX_WRONG = 10;

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** @throws ConfigurationError when others than this machine could reach a dashboard without a password. */
export function requirePassword({ host, password }: AccessRules): void {
  if (isLoopback(host) || password) return;
  throw new ConfigurationError(
    `the dashboard on ${host} would be open to everyone who reaches that address`,
    "set GLUELLM_DASHBOARD_PASSWORD (at least 8 characters), or GLUELLM_DASHBOARD_HOST=127.0.0.1",
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
      response.status(403).type("text").send("Forbidden: this host name is not the dashboard's\n");
    } else if (!isOwnOrigin(request)) {
      response.status(403).type("text").send("Forbidden: the request comes from another site\n");
    } else next();
  };
}

/** Asks for the password, or else for the token; after ten wrong passwords in a minute an address has to wait. */
export function guardLogin({ password, token }: AccessRules, logger: Logger): RequestHandler[] {
  if (password === undefined) return token === undefined ? [] : [guardByLink(token)];
  const throttle = rateLimit({
    windowMs: 60_000,
    limit: MAX_WRONG,
    skipSuccessfulRequests: true,
    // A request without a password is a browser's first, which then asks its user.
    requestWasSuccessful: (request, response) =>
      response.statusCode !== 401 || request.headers.authorization === undefined,
    standardHeaders: true,
    legacyHeaders: false,
    message: "Too many wrong passwords: try again in a minute\n",
  });
  const ask: RequestHandler = (request, response, next) => {
    if (hasPassword(request, password)) return next();
    if (request.headers.authorization !== undefined)
      logger.warn({ address: request.socket.remoteAddress }, "a wrong password for the dashboard");
    response.set("WWW-Authenticate", 'Basic realm="GlueLLM dashboard", charset="UTF-8"');
    response.status(401).type("text").send("The dashboard's password is needed (any user name)\n");
  };
  return [throttle, ask];
}

function isOwnHost(header: string | undefined, { host, password }: AccessRules): boolean {
  const named = hostnameOf(header);
  if (named === undefined) return false;
  if (isLoopback(named) || named === hostnameOf(bracketed(host))) return true;
  return isWildcard(host) && password !== undefined;
}

/** Programs send neither header; browsers send Origin with every request that changes something. */
function isOwnOrigin({ method, headers }: Request): boolean {
  if (headers.origin !== undefined && hostAndPortOf(headers.origin) !== headers.host?.toLowerCase())
    return false;
  const site = headers["sec-fetch-site"];
  return SAFE_METHODS.has(method) || site === undefined || site === "same-origin";
}

function hasPassword({ headers }: Request, password: string): boolean {
  const encoded = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(headers.authorization ?? "")?.[1];
  if (encoded === undefined) return false;
  const credentials = Buffer.from(encoded, "base64").toString("utf8");
  const given = credentials.slice(credentials.indexOf(":") + 1);
  return timingSafeEqual(digest(given), digest(password));
}

function digest(text: string): Buffer {
  return Buffer.from(sha256(text));
}

function hostAndPortOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
