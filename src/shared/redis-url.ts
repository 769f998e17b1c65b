/*
 * Addresses of Redis that name several servers, of which one has the namespace at a time:
 *   redis+sentinel://[user:password@]host[:26379],…/NAME[/database]   those of Redis Sentinel, and the name of what they watch
 *   redis+cluster://[user:password@]host[:6379],…                      any nodes of a Redis Cluster
 * `rediss+…` speaks TLS with all of them. Sentinels have their own credentials: `?sentinelUsername=…&sentinelPassword=…`.
 */

export interface RedisGroup {
  kind: "sentinel" | "cluster";
  hosts: readonly { host: string; port: number }[];
  isTls: boolean;
  username?: string;
  password?: string;
  /** Of Sentinel: what the primary and its replicas are called together. */
  name?: string;
  database?: number;
  sentinelUsername?: string;
  sentinelPassword?: string;
}

const GROUP = /^redis(s?)\+(sentinel|cluster):\/\/(?:([^@/?]*)@)?([^@/?]+)(\/[^?]*)?(?:\?(.*))?$/;
const HOST = /^(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/;
const PORTS = { sentinel: 26_379, cluster: 6379 } as const;

/** Returns whether an address names a group of servers, rightly or not. */
export function isGroupUrl(url: string): boolean {
  return /^rediss?\+/.test(url);
}

/** Returns what such an address says, or a text that says what is wrong with it. */
export function readGroupUrl(url: string): RedisGroup | string {
  const parts = GROUP.exec(url);
  if (!parts)
    return "write redis+sentinel://host:port,host:port/NAME or redis+cluster://host:port,host:port (rediss+… for TLS)";
  const [, tls, scheme, credentials = "", hostList = "", path = "", query = ""] = parts;
  const kind = scheme as RedisGroup["kind"];
  const hosts = hostList.split(",").map((text) => HOST.exec(text));
  const isWrong = hosts.some((host) => !host || Number(host[2] ?? 1) > 65_535);
  if (isWrong) return "names a host that is none; write host:port,host:port";
  const [name = "", database = "", ...more] = path.split("/").slice(1).map(decoded);
  if (kind === "sentinel" && !/^[\w.-]+$/.test(name))
    return "lacks the name of what Sentinel watches: redis+sentinel://host:port/NAME";
  if (more.length > 0 || (database !== "" && !/^\d+$/.test(database)) || (kind === "cluster" && name !== ""))
    return kind === "cluster"
      ? "names a database; a Redis Cluster has one alone"
      : "ends in something that is no database";
  const colon = credentials.indexOf(":");
  const [username, password] =
    colon < 0 ? [credentials, ""] : [credentials.slice(0, colon), credentials.slice(colon + 1)];
  const options = new URLSearchParams(query);
  const given = (field: string, text: string | null) => (text ? { [field]: text } : {});
  return {
    kind,
    hosts: hosts.map((host) => ({
      host: (host?.[1] ?? "").replace(/^\[|\]$/g, ""),
      port: Number(host?.[2] ?? PORTS[kind]),
    })),
    isTls: tls === "s",
    ...given("username", decoded(username)),
    ...given("password", decoded(password)),
    ...(kind === "sentinel" && { name, database: Number(database) }),
    ...given("sentinelUsername", options.get("sentinelUsername")),
    ...given("sentinelPassword", options.get("sentinelPassword")),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
