import { isGroupUrl, type RedisGroup, readGroupUrl } from "../shared/redis-url.ts";
import { redisKeys } from "./redis-keys.ts";

/**
 * Where Redis is: a URL (`redis://`, `rediss://`), the embedded server's socket, or a group of servers. Of a Redis Cluster all keys of
 * a namespace are in the slot of `slotKey`, and so on one of its nodes.
 */
export type RedisTarget = { url: string } | { socketPath: string } | { group: RedisGroup; slotKey: string };

/**
 * `unix:///path` means a socket, `redis+sentinel://` and `redis+cluster://` a group, anything else is ioredis's own URL form.
 * @param namespace whose keys are wanted
 * @throws Error for the URL of a group that the settings would have refused
 */
export function redisTarget(url: string, namespace: string): RedisTarget {
  if (url.startsWith("unix://")) return { socketPath: url.slice("unix://".length) };
  if (!isGroupUrl(url)) return { url };
  const group = readGroupUrl(url);
  if (typeof group === "string") throw new Error(group);
  return { group, slotKey: redisKeys(namespace).prefix };
}

/** Returns the host and port, those of a group, or the socket of a Redis, never its password. */
export function addressOf(target: RedisTarget): string {
  if ("socketPath" in target) return target.socketPath;
  if ("group" in target) return target.group.hosts.map(({ host, port }) => `${host}:${port}`).join(",");
  const { hostname, port } = new URL(target.url);
  return `${hostname || "127.0.0.1"}:${port || 6379}`;
}
