import { bracketed } from "../../shared/host-name.ts";
import { isLoopback } from "../../shared/loopback.ts";
import { isGroupUrl, type RedisGroup, readGroupUrl } from "../../shared/redis-url.ts";
import type { Settings } from "../../shared/settings.ts";
import { type CheckGroup, type Finding, fail, ok, warn, worst } from "./check.ts";

/** What others could reach or overhear. */
export function exposureChecks(settings: Settings): CheckGroup {
  return {
    name: "Exposure",
    checks: [
      { name: "dashboard", run: () => dashboard(settings) },
      { name: "API", run: (signal) => api(settings, signal) },
      { name: "metrics", run: () => metrics(settings) },
      { name: "webhooks", run: () => webhooks(settings) },
      { name: "way to Redis", run: () => redis(settings) },
      { name: "way to providers", run: () => providers(settings) },
    ],
  };
}

function dashboard({ dashboard: { host, password, sso } }: Settings): Finding {
  if (sso?.defaultRole === "admin")
    return warn(
      "GLUELLM_SSO_DEFAULT_ROLE=admin: everybody whom the proxy lets in may do everything",
      "set GLUELLM_SSO_DEFAULT_ROLE=viewer, and roles by gluellm users set",
    );
  if (isLoopback(host)) return ok(`on ${host} alone`);
  if (!password && !sso)
    return fail(
      `GLUELLM_DASHBOARD_HOST=${host} without a password: everyone who reaches it would see prompts`,
      "set GLUELLM_DASHBOARD_PASSWORD (at least 8 characters), or GLUELLM_DASHBOARD_HOST=127.0.0.1",
    );
  return ok(
    `on ${host} with ${password ? "a password" : "single sign-on"}; a proxy with TLS should stand in front`,
  );
}

async function api({ api: { host, port, corsOrigins } }: Settings, signal: AbortSignal): Promise<Finding> {
  const findings: Finding[] = [];
  if (corsOrigins.includes("*"))
    findings.push(
      warn("web pages of every origin may call it", "name the origins in GLUELLM_API_CORS_ORIGINS"),
    );
  const here = isLoopback(host) ? host : "127.0.0.1";
  const answer = await fetch(`http://${bracketed(here)}:${port}/api/queues`, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(2000)]),
    redirect: "manual",
  }).catch(() => undefined);
  if (answer?.status === 200)
    findings.push(
      warn(
        `the one at port ${port} answers without a key (--no-auth): every user of this machine can spend`,
        "start it without --no-auth",
      ),
    );
  await answer?.body?.cancel();
  const state = answer
    ? `it runs at port ${port} and asks for keys`
    : `none answers at port ${port} of this machine`;
  return worst(
    findings,
    isLoopback(host) ? state : `${state}; on ${host} a proxy with TLS should stand in front`,
  );
}

function metrics({ metrics: { hasServer, host, token } }: Settings): Finding {
  if (!hasServer) return ok("no address of their own");
  if (isLoopback(host) || token) return ok(`on ${host}${token ? " with a token" : ""}`);
  return warn(
    `GLUELLM_METRICS_HOST=${host} without a token: scrapers elsewhere are refused`,
    "set GLUELLM_METRICS_TOKEN",
  );
}

function webhooks({ webhooks: { allowPrivate } }: Settings): Finding {
  if (allowPrivate === "all")
    return warn(
      "they may be sent to every private address: who may make one reaches servers behind the firewall",
      "name the ranges in GLUELLM_WEBHOOK_ALLOW_PRIVATE, such as 10.1.0.0/16",
    );
  return ok(
    allowPrivate.length > 0
      ? `to public addresses and ${allowPrivate.join(", ")}`
      : "to public addresses alone",
  );
}

function redis({ redisUrl }: Settings): Finding {
  if (redisUrl === undefined) return ok("the embedded one has a socket that its owner alone can open");
  if (redisUrl.startsWith("unix:")) return ok("a socket of this machine");
  const group = isGroupUrl(redisUrl) ? (readGroupUrl(redisUrl) as RedisGroup) : undefined;
  const { protocol, hostname, password } = group
    ? {
        protocol: group.isTls ? "rediss:" : "redis:",
        hostname: group.hosts.find(({ host }) => !isLoopback(host))?.host ?? "127.0.0.1",
        password: group.password,
      }
    : new URL(redisUrl);
  if (isLoopback(hostname || "127.0.0.1")) return ok("on this machine");
  const findings: Finding[] = [];
  if (!password)
    findings.push(
      warn(
        `the address of Redis at ${hostname} has no password`,
        "set one (requirepass or an ACL user): redis://USER:PASSWORD@host",
      ),
    );
  if (protocol === "redis:")
    findings.push(
      warn(`prompts go to Redis at ${hostname} unencrypted`, "use TLS (rediss://), or a private network"),
    );
  return worst(findings, `TLS and a password to ${hostname}`);
}

function providers({ providers: entries }: Settings): Finding {
  const open = Object.values(entries).filter(({ baseUrl, apiKey }) => {
    const url = URL.parse(baseUrl);
    return (
      apiKey !== undefined && url?.protocol === "http:" && !isLoopback(url.hostname.replace(/^\[|\]$/g, ""))
    );
  });
  return worst(
    open.map(({ name, baseUrl }) =>
      warn(
        `the key of ${name} goes to ${new URL(baseUrl).origin} unencrypted`,
        `give ${name} an https:// address`,
      ),
    ),
    "encrypted, or on this machine",
  );
}
