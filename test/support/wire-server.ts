import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface WireRequest {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface WireServer {
  url: string;
  requests: WireRequest[];
  /** Sockets accepted so far. */
  readonly sockets: number;
}

/** A bare HTTP server whose handler has the wire to itself; gone with its connections when the test, or `onEnd`, ends. */
export async function wireServer(
  handle: (response: ServerResponse, request: WireRequest, socket: Socket) => unknown,
  onEnd: (close: () => Promise<void>) => void = onTestFinished,
): Promise<WireServer> {
  const requests: WireRequest[] = [];
  let sockets = 0;
  const server = createServer((incoming, response) => {
    let body = "";
    incoming.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk;
    });
    incoming.on("end", () => {
      const request = { path: incoming.url ?? "", headers: incoming.headers, body };
      requests.push(request);
      void handle(response, request, incoming.socket);
    });
  });
  server.on("connection", () => {
    sockets++;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onEnd(async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    get sockets() {
      return sockets;
    },
  };
}

/** An address where nothing listens. */
export async function deadUrl(): Promise<string> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** Sends JSON with a status and headers. */
export function sendJson(
  response: ServerResponse,
  body: unknown,
  status = 200,
  headers: Record<string, string> = {},
): void {
  response
    .writeHead(status, { "content-type": "application/json", ...headers })
    .end(typeof body === "string" ? body : JSON.stringify(body));
}
