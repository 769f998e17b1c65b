import type { RequestHandler } from "express";
import { peersOf, type SsoRules } from "../src/shared/sso-setting.ts";

/**
 * Leaves the header of single sign-on to listed proxies: from any other address it is removed, so that nothing behind reads what
 * anybody could send. The address is that of the connection, never one that a header names.
 */
export function stripIdentity(sso: SsoRules | undefined): RequestHandler {
  if (!sso) return (_request, _response, next) => next();
  const isProxy = peersOf(sso.proxies);
  return (request, _response, next) => {
    if (!isProxy(request.socket.remoteAddress)) delete request.headers[sso.userHeader];
    next();
  };
}
