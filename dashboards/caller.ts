import { randomBytes, timingSafeEqual } from "node:crypto";
import type { Request, RequestHandler, Response } from "express";
import { sha256 } from "../src/shared/digest.ts";
import { type KnownCaller, OWNER, type Principal, roleOf } from "../src/shared/principal.ts";
import type { Role } from "../src/shared/scopes.ts";
import { admitRequest } from "../src/store/api-key.ts";
import { csrfSecret, endSession, readSession, type Session } from "../src/store/session.ts";
import type { Store } from "../src/store/store.ts";
import { userPrincipal } from "../src/store/user.ts";
import type { AccessRules } from "./access.ts";

/** Who sends a request, by what it shows. */
export interface Caller {
  by: Session["by"] | "anyone" | "sso";
  /** Of a key, Redis has still to say what it may do. */
  known: KnownCaller;
  /** What a change has to bring along, where the browser shows the rest by itself. */
  csrfToken?: string;
  /** Of a browser that is logged in. */
  sessionId?: string;
}

/** Who did something, for logs. */
export interface Actor {
  /** Absent for the password, the link and users, who have no key. */
  keyId?: string | undefined;
  /** Of single sign-on. */
  user?: string | undefined;
  by: Caller["by"] | undefined;
  role: Role | undefined;
  tenant: string | undefined;
  address: string | undefined;
}

/** Of whoever has the password: it counts until the dashboard ends. */
const PASSWORD_CSRF_TOKEN = csrfTokenOf(randomBytes(32).toString("hex"));

/** Notes with each request who sends it, if it says so. */
export function findCaller(store: Store, rules: AccessRules): RequestHandler {
  return async (request, response, next) => {
    response.locals.caller = await callerBy(request, store, rules);
    next();
  };
}

/** Returns who sends a request; undefined when it does not say so, or not rightly. */
export function callerOf(response: Response): Caller | undefined {
  return response.locals.caller as Caller | undefined;
}

/** Returns what a caller may do; undefined when its key counts no more, which ends the session. */
export async function principalOf(
  store: Store,
  { known, sessionId }: Caller,
): Promise<Principal | undefined> {
  if ("tenant" in known) return known;
  const admission = await admitRequest(store, known, false);
  if (admission.outcome === "admitted") return { ...admission, keyId: known.keyId };
  if (sessionId !== undefined) await endSession(store, sessionId);
  return undefined;
}

/** Returns who acts by a request: known once it was let in. */
export function actorOf(request: Request, response: Response): Actor {
  const principal = response.locals.principal as Principal | undefined;
  return {
    keyId: principal?.keyId,
    ...(principal?.user !== undefined && { user: principal.user }),
    by: callerOf(response)?.by,
    role: principal && roleOf(principal),
    tenant: principal?.tenant,
    address: request.ip,
  };
}

/** Returns what a session stores of a secret that people chose or that is not Redis's to know. */
export function boundDigest(sessionId: string, secret: string): string {
  return sha256(`${sessionId} ${secret}`);
}

/** The name of the session's cookie. Cookies are shared by all ports of a machine; by TLS no other host of a domain can set it. */
export function cookieNameOf(request: Request): string {
  return `${request.secure ? "__Host-" : ""}gluellm-${request.socket.localPort}`;
}

/** Compares in constant time. */
export function isSame(given: string | undefined, secret: string | undefined): boolean {
  if (given === undefined || secret === undefined) return false;
  return timingSafeEqual(Buffer.from(sha256(given)), Buffer.from(sha256(secret)));
}

async function callerBy(request: Request, store: Store, rules: AccessRules): Promise<Caller | undefined> {
  const { password, token } = rules;
  const { authorization = "" } = request.headers;
  const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  // No page of another site can send one, so that it needs no token beside it.
  const isAnyones = password === undefined && token === undefined;
  if (bearer !== undefined && !isAnyones)
    return isSame(bearer, token) ? { by: "link", known: OWNER } : undefined;
  const user = await userOf(request, store, rules);
  if (user) return user;
  if (isAnyones) return { by: "anyone", known: OWNER };
  const sessionId = cookieOf(request, cookieNameOf(request));
  const session = sessionId === undefined ? undefined : await readSession(store, sessionId);
  const known = sessionId !== undefined && session && knownBy(session, sessionId, rules);
  if (known) return { by: session.by, known, sessionId, csrfToken: csrfTokenOf(sessionId) };
  if (password === undefined || !isSame(passwordOf(authorization), password)) return undefined;
  return { by: "password", known: OWNER, ...(isBrowsers(request) && { csrfToken: PASSWORD_CSRF_TOKEN }) };
}

/**
 * Returns the user whom a listed proxy names (from others the header is removed: `stripIdentity`). The browser shows its login at the
 * proxy by itself, so that changes bring a token along. Who has no role may log in as others do.
 */
async function userOf(request: Request, store: Store, { sso }: AccessRules): Promise<Caller | undefined> {
  const name = sso && request.headers[sso.userHeader];
  if (!sso || typeof name !== "string") return undefined;
  const known = await userPrincipal(store, name, sso.defaultRole);
  return known && { by: "sso", known, csrfToken: csrfTokenOf(`${await csrfSecret(store)} ${known.user}`) };
}

function knownBy(
  session: Session,
  sessionId: string,
  { password, token }: AccessRules,
): KnownCaller | undefined {
  const { by, keyId, digest } = session;
  if (by === "key") return keyId === undefined ? undefined : { keyId, digest };
  const secret = by === "password" ? password : token;
  return secret !== undefined && isSame(digest, boundDigest(sessionId, secret)) ? OWNER : undefined;
}

/** Returns the token that changes of a session bring along. */
export function csrfTokenOf(secret: string): string {
  return sha256(`csrf ${secret}`);
}

/** Browsers send one of these with whatever changes something, programs none. A page that is opened may have neither. */
function isBrowsers({ method, headers }: Request): boolean {
  return method === "GET" || headers.origin !== undefined || headers["sec-fetch-site"] !== undefined;
}

function passwordOf(authorization: string): string | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  const credentials = Buffer.from(encoded, "base64").toString("utf8");
  return credentials.slice(credentials.indexOf(":") + 1);
}

function cookieOf({ headers }: Request, name: string): string | undefined {
  const pairs = (headers.cookie ?? "").split(";").map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}
