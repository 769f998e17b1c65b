/** Where Redis is: a URL (`redis://`, `rediss://`) or the embedded server's socket. */
export type RedisTarget = { url: string } | { socketPath: string };

/** `unix:///path` means a socket, anything else is ioredis's own URL form. */
export function redisTarget(url: string): RedisTarget {
  return url.startsWith("unix://") ? { socketPath: url.slice("unix://".length) } : { url };
}

/** Returns the host and port or the socket of a Redis, never its password. */
export function addressOf(target: RedisTarget): string {
  if (!("url" in target)) return target.socketPath;
  const { hostname, port } = new URL(target.url);
  return `${hostname || "127.0.0.1"}:${port || 6379}`;
}
