import { createServer } from "node:http";
import { ConfigurationError } from "../shared/errors.ts";
import { urlHost } from "../shared/host-name.ts";
import { closeServer, listen } from "../shared/listen.ts";
import type { Logger } from "../shared/logger.ts";
import { isLoopback } from "../shared/loopback.ts";
import type { TelemetrySource } from "./metrics-page.ts";
import { answerTelemetry, answerText, isTelemetry, mayRead } from "./telemetry-requests.ts";

/** Tried when the port is busy: so several processes of a machine have one each. */
const FURTHER_PORTS = 100;

export interface MetricsServer {
  /** With the port that was free: `http://127.0.0.1:8000/metrics`. */
  url: string;
  close(): Promise<void>;
}

/**
 * Serves `/metrics` and `/scale` on an address of their own (`GLUELLM_METRICS_HOST`, `GLUELLM_METRICS_PORT`).
 * @throws ConfigurationError when others could read them without a token, or no port is free
 */
export async function startMetricsServer(source: TelemetrySource, logger: Logger): Promise<MetricsServer> {
  const { host, port, token } = source.settings.metrics;
  if (!isLoopback(host) && token === undefined) {
    throw new ConfigurationError(
      `the metrics on ${host} would be open to everyone who reaches that address`,
      "set GLUELLM_METRICS_TOKEN (at least 16 characters), or GLUELLM_METRICS_HOST=127.0.0.1",
      "metrics_open",
    );
  }
  const server = createServer((request, response) => {
    // Of a worker, which has no other address, an orchestrator asks no more than whether it answers.
    if (request.url === "/healthz") return answerText(response, 200, "ok");
    if (!isTelemetry(request)) return answerText(response, 404, "/metrics and /scale are here");
    if (!mayRead(request, { host, token })) {
      response.setHeader("www-authenticate", 'Bearer realm="GlueLLM metrics"');
      return answerText(response, 401, "send Authorization: Bearer and the metrics token");
    }
    answerTelemetry(request, response, source).catch((error: Error) => {
      logger.error({ fault: error.message }, "metrics could not be told");
      if (!response.headersSent) answerText(response, 500, "internal error; see the log");
    });
  });
  server.maxConnections = 100;
  const hint = "set GLUELLM_METRICS_PORT, or GLUELLM_METRICS_HOST, to an address that is free";
  const actual = await listen(
    server,
    { host, port, furtherPorts: FURTHER_PORTS },
    { what: "the metrics server", hint, code: "metrics_address" },
  );
  const url = `http://${urlHost(host)}:${actual}/metrics`;
  if (actual !== port && port !== 0)
    logger.warn({ url, taken: port }, "the port of metrics was taken: they are on the next free one");
  else logger.info({ url }, "metrics are served");
  return { url, close: () => closeServer(server) };
}
