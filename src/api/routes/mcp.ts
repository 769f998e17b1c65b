import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import type { Request as ExpressRequest } from "express";
import { readVersion } from "../../host/read-version.ts";
import { ConfigurationError } from "../../shared/errors.ts";
import { SCOPES } from "../../shared/scopes.ts";
import { ApiError } from "../api-error.ts";
import { loadServerSdk, type McpCaller, mcpServerFor } from "../mcp/server.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const MAX_BODY_BYTES = 20 * 1024 * 1024;

/** `/mcp`: what MCP clients speak with, by Streamable HTTP, in both eras of the protocol. */
export const mcpRoutes: RouteGroup = {
  name: "mcp",
  basePath: "/mcp",
  dialect: "openai",
  routes: (["post", "get", "delete"] as const).map((method) =>
    defineRoute({
      method,
      path: "/",
      // What its tools change, the routes behind them tell.
      isRead: true,
      summary:
        "Speaks the Model Context Protocol: its tools are the other routes, as far as the key allows them.",
      scope: SCOPES,
      answerType: "application/json",
      ...(method === "post" && { bodyType: "application/json" }),
      handle: speak,
    }),
  ),
};

type Handler = { fetch(request: Request, options: object): Promise<Response> };
let handler: Promise<Handler> | undefined;

function openHandler(): Promise<Handler> {
  handler ??= loadServerSdk().then(({ createMcpHandler }) =>
    createMcpHandler(
      ({ authInfo }) => mcpServerFor(authInfo?.extra?.caller as unknown as McpCaller, readVersion()),
      { maxRequestBodySize: MAX_BODY_BYTES },
    ),
  );
  handler.catch(() => {
    handler = undefined;
  });
  return handler;
}

async function speak({ request, response, principal, signal }: Call): Promise<undefined> {
  const opened = await openHandler().catch((error) => {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new ApiError({ status: 501, code: error.code, message: error.message, hint: error.hint });
  });
  const caller: McpCaller = {
    url: ownUrl(request),
    authorization: authorizationOf(request),
    scopes: principal.scopes,
  };
  const authInfo = {
    token: "",
    clientId: principal.keyId ?? "",
    scopes: [...principal.scopes],
    extra: { caller },
  };
  const answer = await opened.fetch(toWebRequest(request, signal), { authInfo });
  response.status(answer.status);
  for (const [name, value] of answer.headers) response.setHeader(name, value);
  if (!answer.body) {
    response.end();
    return undefined;
  }
  // A client that went away is told nothing.
  await pipeline(Readable.fromWeb(answer.body as ReadableStream), response).catch(() => {});
  return undefined;
}

/** The address at which this very request arrived: the tools' calls take the same way in. */
function ownUrl({ socket }: ExpressRequest): string {
  const { localAddress = "127.0.0.1", localPort, localFamily } = socket;
  return `http://${localFamily === "IPv6" ? `[${localAddress}]` : localAddress}:${localPort}`;
}

function authorizationOf(request: ExpressRequest): string | undefined {
  const key = request.headers["x-api-key"];
  return request.headers.authorization ?? (key === undefined ? undefined : `Bearer ${key}`);
}

function toWebRequest(request: ExpressRequest, signal: AbortSignal): Request {
  const headers = new Headers();
  // The key has been seen, and is nothing for the SDK.
  for (const [name, value] of Object.entries(request.headers))
    if (value !== undefined && name !== "authorization" && name !== "x-api-key")
      headers.set(name, String(value));
  const { method } = request;
  const hasBody = method === "POST";
  return new Request(new URL(request.originalUrl, ownUrl(request)), {
    ...{ method, headers, signal },
    ...(hasBody && { body: Readable.toWeb(request), duplex: "half" }),
  } as unknown as RequestInit);
}
