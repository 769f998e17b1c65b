import express, { type Request, type RequestHandler, type Response, Router } from "express";
import { rateLimit } from "express-rate-limit";
import { readToken } from "../src/shared/api-token.ts";
import type { Logger } from "../src/shared/logger.ts";
import { OWNER, type Principal, roleOf } from "../src/shared/principal.ts";
import { allows } from "../src/shared/scopes.ts";
import { endSession, newSessionId, openSession, type Session } from "../src/store/session.ts";
import type { Store } from "../src/store/store.ts";
import { type AccessRules, isChange } from "./access.ts";
import {
  actorOf,
  boundDigest,
  type Caller,
  callerOf,
  cookieNameOf,
  csrfTokenOf,
  findCaller,
  isSame,
  principalOf,
} from "./caller.ts";
import { loginPage, type PageState } from "./login-page.ts";
import { refuse } from "./refuse.ts";

/** Wrong keys and passwords that an address may try in a minute. */
const MAX_WRONG = 10;
const MAX_FORM_BYTES = 16 * 1024;
/** How long a browser stays logged in: by a key or the password, and by the link. */
const SESSION_SECONDS = 12 * 3600;
const LINK_SESSION_SECONDS = 30 * 24 * 3600;
const CSRF_HEADER = "x-csrf-token";

interface LoginOptions {
  rules: AccessRules;
  store: Store;
  logger: Logger;
}

/**
 * Finds who sends each request, and serves the login: `GET /login` (a page), `POST /login` (`key`, `next`), `POST /logout`,
 * `GET /session` (who is logged in, and the CSRF token), and the link with `?token=`.
 */
export function loginRoutes(options: LoginOptions): Router {
  const { rules, store, logger } = options;
  const readForm = express.urlencoded({ extended: false, limit: MAX_FORM_BYTES, parameterLimit: 20 });
  const readJson = express.json({ limit: MAX_FORM_BYTES });
  // Strict, so that no other spelling of the login goes by the throttle.
  return Router({ caseSensitive: true, strict: true })
    .use(throttle(), findCaller(store, rules), logChanges(logger), openLink(options))
    .get("/login", async (request, response) => {
      const caller = callerOf(response);
      const principal = caller && (await principalOf(store, caller));
      showPage(response, rules, request.query.next, { principal, csrfToken: caller?.csrfToken });
    })
    .post("/login", readForm, readJson, (request, response) => logIn(request, response, options))
    .use(readForm, checkCsrf)
    .post("/logout", async (request, response) => {
      const { sessionId } = callerOf(response) ?? {};
      if (sessionId !== undefined) await endSession(store, sessionId);
      response.clearCookie(cookieNameOf(request), cookieOptions(request));
      if (request.is("urlencoded")) response.redirect(303, "/login");
      else response.status(204).end();
    })
    .get("/session", requireLogin(options), (_request, response) => {
      const { keyId = null, user = null, tenant, scopes } = response.locals.principal as Principal;
      const { by, csrfToken = null } = callerOf(response) as Caller;
      const role = roleOf(response.locals.principal) ?? null;
      response.set("cache-control", "no-store").json({ keyId, user, by, role, tenant, scopes, csrfToken });
    });
}

/** Lets in who is logged in, and notes what that allows; a browser's page becomes the login. */
export function requireLogin({ rules, store }: LoginOptions): RequestHandler {
  return async (request, response, next) => {
    const caller = callerOf(response);
    const principal = caller && (await principalOf(store, caller));
    if (principal) {
      response.locals.principal = principal;
      return next();
    }
    if (request.method === "GET" && request.accepts(["text", "html"]) === "html")
      return response.redirect(303, `/login?next=${encodeURIComponent(request.originalUrl)}`);
    if (rules.password !== undefined)
      response.set("WWW-Authenticate", 'Basic realm="GlueLLM dashboard", charset="UTF-8"');
    const how =
      rules.password === undefined
        ? "open the link that `gluellm dashboard`, `up` or `quickstart` prints: it holds the token. Or log in with a key at /login"
        : "the dashboard's password is needed (any user name), or a key at /login";
    refuse(response, 401, "login_required", how);
  };
}

/** Wrong keys and passwords cost a try each; a request that shows neither costs none. */
function throttle(): RequestHandler {
  return rateLimit({
    windowMs: 60_000,
    limit: MAX_WRONG,
    skip: (request) => !isTry(request),
    skipSuccessfulRequests: true,
    requestWasSuccessful: (_request, response) => response.statusCode !== 401,
    // Of a proxy that is not listed the headers count for nothing.
    validate: { xForwardedForHeader: false, forwardedHeader: false },
    standardHeaders: true,
    legacyHeaders: false,
    handler: (_request, response) => {
      refuse(response, 429, "too_many_logins", "too many wrong keys or passwords: try again in a minute");
    },
  });
}

function isTry({ method, path, headers }: Request): boolean {
  return (method === "POST" && path === "/login") || /^Basic /i.test(headers.authorization ?? "");
}

/** Logs who changes what, and wrong tries. */
function logChanges(logger: Logger): RequestHandler {
  return (request, response, next) => {
    const { method, path } = request;
    const wasTry = isTry(request);
    response.once("finish", () => {
      const { statusCode: status } = response;
      const entry = { actor: actorOf(request, response), method, path, status };
      if (wasTry && status === 401) logger.warn(entry, "a wrong key or password for the dashboard");
      else if (isChange(request) && status < 400) logger.info(entry, "changed on the dashboard");
    });
    next();
  };
}

/** What the browser shows by itself, other sites' pages could use: only our own pages know the token. */
const checkCsrf: RequestHandler = (request, response, next) => {
  const expected = callerOf(response)?.csrfToken;
  if (expected === undefined || !isChange(request)) return next();
  const given = request.headers[CSRF_HEADER] ?? (request.body as { csrf?: unknown } | undefined)?.csrf;
  if (typeof given === "string" && isSame(given, expected)) return next();
  const how = `reload the page; programs send the csrfToken of GET /session as ${CSRF_HEADER}`;
  refuse(response, 403, "csrf_token", `the CSRF token is missing or old: ${how}`);
};

/** The link with the token: the browser gets a session, and an address without the token. */
function openLink({ rules, store }: LoginOptions): RequestHandler {
  return async (request, response, next) => {
    const { token } = request.query;
    const shown = request.method === "GET" && typeof token === "string" ? shownBy(token, rules) : undefined;
    if (shown?.by !== "link") return next();
    await beginSession(request, response, shown, store);
    const url = new URL(request.originalUrl, PLACEHOLDER);
    url.searchParams.delete("token");
    response.redirect(303, localPath(`${url.pathname}${url.search}`));
  };
}

async function logIn(request: Request, response: Response, { rules, store }: LoginOptions): Promise<void> {
  const { key, next } = (request.body ?? {}) as { key?: unknown; next?: unknown };
  const shown = typeof key === "string" ? shownBy(key.trim(), rules) : undefined;
  const principal = shown && (await principalOf(store, shown));
  const isForm = request.is("urlencoded") === "urlencoded";
  const fault = faultOf(principal);
  if (!shown || fault) {
    const [status, code, message] = fault ?? WRONG;
    if (isForm) showPage(response.status(status), rules, next, { fault: message });
    else refuse(response, status, code, message);
    return;
  }
  const caller = await beginSession(request, response, shown, store);
  response.locals.principal = principal;
  if (isForm) response.redirect(303, localPath(next));
  else response.set("cache-control", "no-store").json({ csrfToken: caller.csrfToken });
}

type Fault = readonly [status: number, code: string, message: string];
const WRONG: Fault = [401, "invalid_login", "this key or password is not valid, was revoked, or has expired"];

function faultOf(principal: Principal | undefined): Fault | undefined {
  if (!principal) return WRONG;
  return allows(principal.scopes, "read")
    ? undefined
    : [403, "missing_scope", 'this key does not allow "read"'];
}

/** What somebody has shown to log in. */
interface Shown extends Pick<Caller, "known"> {
  by: Session["by"];
  text: string;
}

function shownBy(text: string, { password, token }: AccessRules): Shown | undefined {
  const key = readToken(text);
  if (key) return { by: "key", known: key, text };
  if (isSame(text, password)) return { by: "password", known: OWNER, text };
  return password === undefined && isSame(text, token) ? { by: "link", known: OWNER, text } : undefined;
}

/** Begins a session with a new id, whatever cookie the browser has, and ends the one of that. */
async function beginSession(
  request: Request,
  response: Response,
  { by, known, text }: Shown,
  store: Store,
): Promise<Caller> {
  const before = callerOf(response)?.sessionId;
  if (before !== undefined) await endSession(store, before);
  const sessionId = newSessionId();
  const shown = "tenant" in known ? { digest: boundDigest(sessionId, text) } : known;
  const seconds = by === "link" ? LINK_SESSION_SECONDS : SESSION_SECONDS;
  await openSession(store, sessionId, { by, ...shown }, seconds);
  response.cookie(cookieNameOf(request), sessionId, { ...cookieOptions(request), maxAge: seconds * 1000 });
  const caller = { by, known, sessionId, csrfToken: csrfTokenOf(sessionId) };
  response.locals.caller = caller;
  return caller;
}

function cookieOptions({ secure }: Request) {
  return { httpOnly: true, sameSite: "strict", secure, path: "/" } as const;
}

function showPage(response: Response, { password }: AccessRules, next: unknown, state: PageState): void {
  response.set("cache-control", "no-store").type("html");
  response.send(loginPage({ ...state, next: localPath(next), hasPassword: password !== undefined }));
}

const PLACEHOLDER = "http://dashboard";

/** Returns a path of this server, whatever a link to the login says. */
function localPath(next: unknown): string {
  if (typeof next !== "string" || !URL.canParse(next, PLACEHOLDER)) return "/";
  const { origin, pathname, search } = new URL(next, PLACEHOLDER);
  return origin === PLACEHOLDER && !pathname.startsWith("//") ? `${pathname}${search}` : "/";
}
