import { createServer, type RequestListener, type Server } from "node:http";

/** How long a client may take for its headers, and for a whole request, uploads included. */
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 30 * 60_000;
/** Longer than load balancers keep an idle connection, so that they end it and not we. */
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
const MAX_CONNECTIONS = 10_000;

interface Bounds {
  /** Of a whole request; default 30 minutes. */
  requestTimeoutMs?: number;
}

/** Returns a server that neither slow clients nor floods of headers and connections keep from answering others. */
export function boundedServer(
  listener: RequestListener,
  { requestTimeoutMs = REQUEST_TIMEOUT_MS }: Bounds = {},
): Server {
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES }, listener);
  return Object.assign(server, {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeadersCount: MAX_HEADERS,
    maxConnections: MAX_CONNECTIONS,
  });
}
