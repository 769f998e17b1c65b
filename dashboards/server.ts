import { setTimeout as delay } from "node:timers/promises";
import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Router } from "express";
import helmet from "helmet";
import { boundedServer } from "../src/shared/bounded-server.ts";
import { urlHost } from "../src/shared/host-name.ts";
import { closeServer, listen } from "../src/shared/listen.ts";
import type { Logger } from "../src/shared/logger.ts";
import type { KnownCaller } from "../src/shared/principal.ts";
import type { Settings } from "../src/shared/settings.ts";
import { Audit } from "../src/store/audit.ts";
import type { KeyRing } from "../src/store/key-ring.ts";
import { connectRedis } from "../src/store/redis.ts";
import type { RedisTarget } from "../src/store/redis-target.ts";
import { type Store, storeOf } from "../src/store/store.ts";
import { openMetrics } from "../src/telemetry/process-metrics.ts";
import { answerTelemetry, isTelemetry, mayRead } from "../src/telemetry/telemetry-requests.ts";
import { type AccessRules, guardAccess, requirePassword } from "./access.ts";
import { auditChanges, boardAct, loginAct } from "./audit.ts";
import { createBoard } from "./board.ts";
import { callerOf } from "./caller.ts";
import { consoleSite } from "./console-site.ts";
import { stripIdentity } from "./identity.ts";
import { loginRoutes, requireLogin } from "./login.ts";
import { refuse } from "./refuse.ts";
import { guardBoard } from "./viewer.ts";

const BASE_PATH = "/queues";
/** Tried when the port is busy. */
const FURTHER_PORTS = 20;
const HEALTH_TIMEOUT_MS = 1000;
/** For a request to come whole. */
const REQUEST_TIMEOUT_MS = 60_000;

export interface DashboardOptions extends AccessRules {
  redisTarget: RedisTarget;
  namespace: string;
  /** By default a busy port moves to the next free one, 20 at most; 0 takes any. */
  port: number;
  /** Whether a busy port is an error; default false. */
  isPortFixed?: boolean;
  /** Addresses and subnets of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count; default none. */
  trustedProxies?: readonly string[];
  /** Returns the REST routes, `/api`, for who is logged in; absent: there are none, and no console. */
  mountRest?: (knownCaller: (request: Request) => KnownCaller | undefined) => RestRoutes;
  logger: Logger;
  /** What decrypts the contents that Bull Board shows; absent: encryption is off. */
  ring?: KeyRing | undefined;
  /** What `/metrics` and `/scale` say, and whom: absent, they are not there. */
  settings?: Settings;
}

interface RestRoutes {
  router: Router;
  close(): Promise<void>;
}

export interface Dashboard {
  /** The page's address with the port that was free, for example `http://127.0.0.1:3000/`; its token included. */
  url: string;
  /** Cuts open connections; ends within a second, with or without Redis. */
  close(): Promise<void>;
}

/**
 * Serves the console at `/`, Bull Board at `/queues`, the REST routes at `/api`, the login, and Redis's state at `/healthz` (200, or 503 when it
 * does not answer in 1 s).
 * Starts without Redis too, and shows the queues once it is there.
 * @throws ConfigurationError when it would be open to others without a password, or cannot listen.
 */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { redisTarget, namespace, host, port, logger } = options;
  requirePassword(options);
  // One retry: a page says that Redis is away rather than hang until it is back.
  const store = storeOf(
    connectRedis(redisTarget, logger, { connectionName: "gluellm:dashboard", maxRetriesPerRequest: 1 }),
    namespace,
    options.ring,
  );
  const board = createBoard({ basePath: BASE_PATH, store, namespace, logger });

  const audit = new Audit(store);
  const login = { rules: options, store, logger };
  const rest = options.mountRest?.((request) => {
    const { known, by } = (request.res && callerOf(request.res)) ?? {};
    return known && "tenant" in known ? { ...known, by } : known;
  });

  const app = express()
    .disable("x-powered-by")
    .set("trust proxy", [...(options.trustedProxies ?? [])]);
  app.use(stripIdentity(options.sso), securityHeaders(), guardAccess(options));
  app.get("/healthz", health(store));
  // Scrapers have no cookie and no password.
  app.use(
    telemetry(store, options, (request) =>
      mayRead(request, { host, token: options.settings?.metrics.token }),
    ),
  );
  app.use(auditChanges(audit, loginAct), loginRoutes(login));
  if (rest) app.use(rest.router);
  app.use(requireLogin(login));
  app.get(
    ["/metrics", "/scale"],
    guardBoard,
    telemetry(store, options, () => true),
  );
  const site = rest && consoleSite(namespace, logger);
  if (site) app.use(site.routes);
  else app.get("/", (_request, response) => response.redirect(BASE_PATH));
  app.use(BASE_PATH, guardBoard, auditChanges(audit, boardAct), board.router);
  if (site) app.use(site.unknownPage);
  app.use((_request, response) => void response.status(404).type("text").send("Not found\n"));
  app.use(plainError(logger));

  const server = boundedServer(app, { requestTimeoutMs: REQUEST_TIMEOUT_MS });
  async function close(): Promise<void> {
    board.close();
    await rest?.close();
    store.redis.disconnect();
    await closeServer(server);
  }
  const furtherPorts = options.isPortFixed ? 0 : FURTHER_PORTS;
  try {
    const actualPort = await listen(
      server,
      { host, port, furtherPorts },
      {
        what: "the dashboard",
        hint: "set GLUELLM_DASHBOARD_HOST or GLUELLM_DASHBOARD_PORT to an address that is free",
        code: "dashboard_address",
      },
    );
    const link = options.token && !options.password ? `?token=${options.token}` : "";
    const path = rest ? "/" : BASE_PATH;
    return { url: `http://${urlHost(host)}:${actualPort}${path}${link}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Everything from this server alone, so that it works offline; http only, so nothing may upgrade to https. */
function securityHeaders(): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      directives: {
        defaultSrc: ["'self'"],
        fontSrc: ["'self'", "data:"],
        imgSrc: ["'self'", "data:"],
        styleSrc: ["'self'", "'unsafe-inline'"],
        frameAncestors: ["'none'"],
        upgradeInsecureRequests: null,
      },
    },
    // With less, browsers send the login's form with "Origin: null".
    referrerPolicy: { policy: "same-origin" },
    strictTransportSecurity: false,
  });
}

function health(store: Store): RequestHandler {
  return async (_request, response) => {
    const answer = store.redis.ping().then(
      () => true,
      () => false,
    );
    const answers = await Promise.race([answer, delay(HEALTH_TIMEOUT_MS, false, { ref: false })]);
    response.status(answers ? 200 : 503).json({ status: answers ? "ok" : "redis does not answer" });
  };
}

/** `/metrics` and `/scale`, for those who may read them. */
function telemetry(
  store: Store,
  { settings }: DashboardOptions,
  isAllowed: (request: Request) => boolean,
): RequestHandler {
  return async (request, response, next) => {
    if (!settings || !isTelemetry(request) || !isAllowed(request)) return next();
    await answerTelemetry(request, response, { store, settings, metrics: await openMetrics(settings) });
  };
}

function plainError(logger: Logger): ErrorRequestHandler {
  return (error: Error & { status?: number }, request, response, next) => {
    if (response.headersSent) return next(error);
    if (isRedisAway(error)) return refuse(response, 503, "redis_unavailable", "Redis does not answer");
    const status = error.status !== undefined && error.status < 500 ? error.status : 500;
    if (status === 500) logger.error({ err: error, path: request.path }, "dashboard request failed");
    response
      .status(status)
      .type("text")
      .send(status === 500 ? "Internal error; see the log\n" : "Bad request\n");
  };
}

/** The connection gives a command up after one retry. */
function isRedisAway({ name }: Error): boolean {
  return name === "MaxRetriesPerRequestError" || name === "ConnectionClosedError";
}
