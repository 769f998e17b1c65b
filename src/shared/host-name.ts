import { isIPv6 } from "node:net";

const WILDCARDS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** Returns whether a server that listens there can be reached by every address of its machine. */
export function isWildcard(host: string): boolean {
  return WILDCARDS.has(host);
}

/** `2001:db8::1` → `[2001:db8::1]`, as URLs and Host headers write it. */
export function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Returns a host as URLs write it; nobody can visit 0.0.0.0, so that loopback stands for a wildcard. */
export function urlHost(host: string): string {
  if (!isWildcard(host)) return bracketed(host);
  return host === "::" ? "[::1]" : "127.0.0.1";
}

/** Returns the name in a Host header, without port and brackets; undefined for what is none. */
export function hostnameOf(header: string | undefined): string | undefined {
  const url = `http://${header}`;
  if (!header || !URL.canParse(url)) return undefined;
  return new URL(url).hostname.replace(/^\[|\]$/g, "");
}
