import express from "express";
import helmet from "helmet";
import { HistoryReader } from "../history/reader.ts";
import { boundedServer } from "../shared/bounded-server.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { urlHost } from "../shared/host-name.ts";
import { closeServer, listen } from "../shared/listen.ts";
import { Audit } from "../store/audit.ts";
import { openMetrics } from "../telemetry/process-metrics.ts";
import { lastErrorHandler } from "./api-error.ts";
import type { ApiOptions } from "./api-options.ts";
import { authorizer } from "./authorize.ts";
import { clientsOf } from "./clients.ts";
import type { ApiContext } from "./context.ts";
import { documentationRoutes } from "./documentation.ts";
import {
  type AccessRules,
  answerCors,
  guardAccess,
  removeIdentity,
  requireLoopbackWithoutKeys,
} from "./guards.ts";
import { healthRoutes } from "./health.ts";
import { answerNotFound, mountGroup } from "./mount.ts";
import { nameRequest, OpenRequests } from "./requests.ts";
import { ROUTE_GROUPS } from "./route-groups.ts";
import { telemetryRoutes } from "./telemetry-routes.ts";

export interface Api {
  /** Its address without a path: `http://127.0.0.1:4000`. */
  url: string;
  /** Takes no further requests, gives those under way the drain time (`GLUELLM_API_DRAIN_MS`), then ends. */
  close(): Promise<void>;
}

/**
 * Serves the API.
 * @throws ConfigurationError when it would be open to others without keys, or cannot listen.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { settings, logger, store } = options;
  const { host = settings.api.host, port = settings.api.port, isAuthRequired = true } = options;
  const { allowedHosts, corsOrigins } = settings.api;
  const rules: AccessRules = { host, allowedHosts, corsOrigins, isAuthRequired };
  requireLoopbackWithoutKeys(rules);
  const requests = new OpenRequests();
  await using parts = new CloseStack();
  const clients = parts.use(clientsOf(options));
  const metrics = await openMetrics(settings);
  const history = new HistoryReader(settings);
  parts.defer(() => history.close());
  const { draining } = requests;
  const audit = new Audit(store);
  const context: ApiContext = {
    ...{ settings, logger, store, metrics, history, audit },
    ...{ clientOf: clients.of, draining },
  };

  const app = express()
    .disable("x-powered-by")
    .disable("etag")
    .set("query parser", "simple")
    .set("trust proxy", false);
  const health = healthRoutes(context);
  parts.defer(() => health.close());
  app.use(
    removeIdentity(settings.dashboard.sso?.userHeader),
    nameRequest,
    securityHeaders(),
    guardAccess(rules),
  );
  app.use(health.router, answerCors(rules), requests.take);
  const authorize = authorizer({ ...context, isAuthRequired });
  app.use(telemetryRoutes(context, { host, isAuthRequired, authorize }));
  for (const group of ROUTE_GROUPS) {
    const close = await group.start?.(context);
    if (close) parts.defer(close);
    app.use(group.basePath, mountGroup(group, { context, authorize, over: requests.over }));
  }
  app.use(documentationRoutes(ROUTE_GROUPS), answerNotFound, lastErrorHandler(context));

  const server = boundedServer(app);
  parts.defer(() => closeServer(server));
  const { furtherPorts = 0 } = options;
  const actualPort = await listen(
    server,
    { host, port, furtherPorts },
    {
      what: "the API",
      hint: "choose an address that is free: --host, --port, GLUELLM_API_HOST, GLUELLM_API_PORT",
      code: "api_address",
    },
  );
  parts.defer(() => requests.drain(settings.api.drainMs));
  const opened = parts.move();
  return { url: `http://${urlHost(host)}:${actualPort}`, close: () => opened[Symbol.asyncDispose]() };
}

/** It is served by http too, so nothing may upgrade to https; a proxy that speaks https adds its own headers. */
function securityHeaders() {
  const directives = { upgradeInsecureRequests: null, frameAncestors: ["'none'"] };
  return helmet({ strictTransportSecurity: false, contentSecurityPolicy: { directives } });
}
