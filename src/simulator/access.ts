import type { IncomingMessage } from "node:http";
import { isIPv4 } from "node:net";
import { ConfigurationError } from "../shared/errors.ts";

/** Refuses a host that is not loopback, since a simulator has no authentication. @throws ConfigurationError */
export function requireLoopback(host: string): void {
  if (isLoopbackName(host)) return;
  throw new ConfigurationError(
    `the provider simulator binds loopback only, not ${host}`,
    "use host 127.0.0.1, ::1 or localhost",
  );
}

/**
 * Returns whether Host and Origin, if sent, name loopback. A web page can make a browser call loopback under its own
 * name (DNS rebinding) or across origins; neither may change the simulator.
 */
export function isLocalRequest({ headers: { host, origin } }: IncomingMessage): boolean {
  return isLoopbackAuthority(host) && (origin === undefined || isLoopbackOrigin(origin));
}

function isLoopbackOrigin(origin: string): boolean {
  const authority = /^https?:\/\/(.+)$/.exec(origin)?.[1];
  return isLoopbackAuthority(authority);
}

function isLoopbackAuthority(authority: string | undefined): boolean {
  const name = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(authority ?? "")?.[1];
  return name !== undefined && isLoopbackName(name);
}

function isLoopbackName(name: string): boolean {
  const bare = name.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return bare === "localhost" || bare === "::1" || (isIPv4(bare) && bare.startsWith("127."));
}
