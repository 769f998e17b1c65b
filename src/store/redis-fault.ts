import { ConfigurationError } from "../shared/errors.ts";
import { addressOf, type RedisTarget } from "./redis-target.ts";

/** Why a Redis cannot be used, and what to do. */
interface Cause {
  code: string;
  /** What the error's `code` and message, with the connection's scheme in front, look like. */
  seen: RegExp;
  /** What goes behind "Redis at <address>"; gets the match. */
  says: (match: RegExpExecArray) => string;
  hint: string;
}

const UNSET = "unset it to use the embedded Redis";

/** The first that fits decides. The table in docs/redis.md has a row for each. */
const CAUSES: readonly Cause[] = [
  {
    code: "redis_unreachable",
    seen: /ECONNREFUSED|ENOENT|sentinels are unreachable.*Connection is closed/,
    says: () => "does not answer: nothing listens there",
    hint: `start Redis there, or correct GLUELLM_REDIS_URL; ${UNSET}`,
  },
  {
    code: "redis_unreachable",
    seen: /ENOTFOUND|EAI_AGAIN/,
    says: () => "does not answer: no machine has this name",
    hint: `correct the host in GLUELLM_REDIS_URL; ${UNSET}`,
  },
  {
    code: "redis_certificate",
    seen: /\b([A-Z_]*(?:CERT|ISSUER|LEAF_SIGNATURE)[A-Z_]*)\b/,
    says: ([, code]) => `shows a certificate that is not trusted (${code})`,
    hint: "name the file of its authority in NODE_EXTRA_CA_CERTS, or use the host name that the certificate is for",
  },
  {
    code: "redis_unreachable",
    seen: /^rediss:.*(ETIMEDOUT|ECONNRESET|EPROTO|ERR_SSL|socket disconnected)/i,
    says: () => "does not speak TLS, or does not answer",
    hint: "write redis:// for a server without TLS; else check address and firewall",
  },
  {
    code: "redis_unreachable",
    seen: /^redis:.*(ECONNRESET|Connection is closed|Protocol error)/,
    says: () => "closes the connection: it may expect TLS",
    hint: "write rediss:// for a server with TLS",
  },
  {
    code: "redis_unreachable",
    seen: /ETIMEDOUT|Command timed out/,
    says: () => "does not answer within 5 s",
    hint: `check address and firewall; ${UNSET}`,
  },
  {
    code: "redis_auth",
    seen: /NOAUTH/,
    says: () => "wants a password",
    hint: "write redis://:PASSWORD@host or redis://USER:PASSWORD@host in GLUELLM_REDIS_URL",
  },
  {
    code: "redis_auth",
    seen: /WRONGPASS|invalid password/,
    says: () => "refuses this user name or password",
    hint: "correct them in GLUELLM_REDIS_URL; characters such as @ : / are written as %40 %3A %2F",
  },
  {
    code: "redis_cluster",
    seen: /cluster mode|CLUSTERDOWN|MOVED|CROSSSLOT/,
    says: () => "is a Redis Cluster",
    hint: "name some of its nodes: redis+cluster://host:port,host:port",
  },
  {
    code: "redis_cluster",
    seen: /cluster support disabled/,
    says: () => "is no Redis Cluster",
    hint: "write redis:// for a single server",
  },
  {
    code: "redis_sentinel",
    seen: /unknown command .?sentinel/i,
    says: () => "is no Sentinel",
    hint: "name the Sentinels with their ports (26379), not the servers that they watch",
  },
  {
    code: "redis_sentinel",
    seen: /No such master with that name|All sentinels are unreachable and retry is disabled\.(?! Last error)/,
    says: () => "does not watch what the URL names",
    hint: "correct the name at its end: redis+sentinel://host:port/NAME; SENTINEL MASTERS lists the names",
  },
  {
    code: "redis_no_database",
    seen: /DB index is out of range|invalid DB index/,
    says: () => "does not have the database that the URL names",
    hint: "leave out the number at the end of GLUELLM_REDIS_URL, or raise `databases` in the server's settings",
  },
  {
    code: "redis_replica",
    seen: /READONLY/,
    says: () => "is a replica, which takes no writes",
    hint: "name the primary in GLUELLM_REDIS_URL",
  },
  {
    code: "redis_no_permission",
    seen: /NOPERM.*?(?:the '([\w|]+)' command|(channel|key)s?)|NOPERM/i,
    says: ([, command, place]) =>
      `does not let this user ${command ? `run ${command.toUpperCase()}` : `use our ${place ?? "key"}s`}`,
    hint: 'give the user the rights of docs/redis.md, "Least rights"',
  },
  {
    code: "redis_full",
    seen: /OOM/,
    says: () => "has no memory left (maxmemory)",
    hint: "raise maxmemory, or remove what else it holds",
  },
  {
    code: "redis_disk",
    seen: /MISCONF/,
    says: () => "takes no writes since it cannot save to its disk",
    hint: "make room on the server's disk; its log names the fault",
  },
  {
    code: "redis_loading",
    seen: /LOADING|BUSY/,
    says: () => "is still loading its data, or is blocked by a script",
    hint: "try again in a moment",
  },
];

/** Returns what is wrong with a Redis, by what a connection or a command of it threw. */
export function redisFault(error: unknown, target: RedisTarget): ConfigurationError {
  const { code = "", message = String(error) } = error as NodeJS.ErrnoException;
  const scheme =
    "url" in target
      ? new URL(target.url).protocol
      : "group" in target
        ? `redis${target.group.isTls ? "s" : ""}:`
        : "unix:";
  for (const { code: ours, seen, says, hint } of CAUSES) {
    const match = seen.exec(`${scheme} ${code} ${message}`);
    if (match) return new ConfigurationError(`Redis at ${addressOf(target)} ${says(match)}`, hint, ours);
  }
  return new ConfigurationError(
    `Redis at ${addressOf(target)} does not answer: ${message}`,
    `check GLUELLM_REDIS_URL or REDIS_URL; ${UNSET}`,
    "redis_unreachable",
  );
}
