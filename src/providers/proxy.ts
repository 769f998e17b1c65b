import { BlockList, isIP } from "node:net";
import { ConfigurationError } from "../shared/errors.ts";

/** The way to a server: through a proxy, or directly; `why` tells it to people, without the proxy's credentials. */
export interface Route {
  proxy?: URL;
  why: string;
}

const SCHEMES = ["http:", "https:", "socks5:", "socks:"];
const DEFAULT_PORTS: Record<string, string> = { "http:": "80", "https:": "443" };

/**
 * Returns the way to `url` by the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, of which lower-case
 * names come first, as with curl.
 * @throws ConfigurationError `invalid_proxy` naming the variable
 */
export function routeTo(url: URL, variables: Readonly<Record<string, string>>): Route {
  const names = [`${url.protocol.slice(0, -1)}_proxy`, "all_proxy"];
  const [name, text] = firstOf(variables, names);
  if (!text) return { why: `directly: ${names[0]?.toUpperCase()} is not set` };
  const [exceptName, exceptions] = firstOf(variables, ["no_proxy"]);
  const exception = exceptions.split(/[\s,]+/).find((entry) => entry !== "" && excepts(entry, url));
  if (exception) return { why: `directly: ${exceptName} names ${exception.slice(0, 100)}` };
  const proxy = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (!proxy || !SCHEMES.includes(proxy.protocol) || proxy.hostname === "") {
    throw new ConfigurationError(
      `${name} is not the address of a proxy`,
      "write http://host:port, or host:port",
      "invalid_proxy",
    );
  }
  return { proxy, why: `through the proxy ${proxy.protocol}//${proxy.host} of ${name}` };
}

/** Returns the variable that holds, in either spelling, and its value; an empty value means "not set". */
function firstOf(variables: Readonly<Record<string, string>>, names: readonly string[]): [string, string] {
  const spellings = names.flatMap((name) => [name, name.toUpperCase()]);
  const found = spellings.find((name) => (variables[name] ?? "").trim() !== "");
  return found ? [found, (variables[found] ?? "").trim()] : [names[0]?.toUpperCase() ?? "", ""];
}

/** Returns whether an entry of NO_PROXY is the host, a domain above it, or a range of addresses with it. */
function excepts(entry: string, { hostname, port, protocol }: URL): boolean {
  const host = bare(hostname);
  const { name, port: only } = splitPort(entry.toLowerCase());
  if (only !== undefined && only !== (port || DEFAULT_PORTS[protocol])) return false;
  if (name === "*") return true;
  if (name.includes("/")) return inRange(host, name);
  const domain = name.replace(/^\*?\./, "").replace(/\.$/, "");
  const isBelow = host.endsWith(`.${domain}`) && isIP(host) === 0;
  return isBelow || (!name.startsWith("*.") && host === bare(domain));
}

function splitPort(entry: string): { name: string; port?: string } {
  const [, name = "", port = ""] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(entry) ?? [];
  return port === "" ? { name: entry } : { name, port };
}

function inRange(host: string, range: string): boolean {
  const [base = "", bits = ""] = range.split("/");
  const family = isIP(base);
  if (family === 0 || family !== isIP(host) || !/^\d{1,3}$/.test(bits)) return false;
  const list = new BlockList();
  try {
    list.addSubnet(base, Number(bits), family === 4 ? "ipv4" : "ipv6");
  } catch {
    return false;
  }
  return list.check(host, family === 4 ? "ipv4" : "ipv6");
}

/** Returns a host without the brackets of IPv6, and the dot at its end. */
function bare(hostname: string): string {
  return hostname
    .replace(/^\[(.+)\]$/, "$1")
    .replace(/^(.+)\.$/, "$1")
    .toLowerCase();
}
