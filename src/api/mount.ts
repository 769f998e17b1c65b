import express, {
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
  Router,
} from "express";
import type { z } from "zod";
import { MAX_REQUEST_BYTES } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { nestsTooDeep } from "../shared/json.ts";
import { type LogFields, withLogContext } from "../shared/log-context.ts";
import type { Principal } from "../shared/principal.ts";
import { allows } from "../shared/scopes.ts";
import { type TraceCarrier, traceIdOf } from "../telemetry/trace-context.ts";
import { ApiError, dialectFor, lastErrorHandler, schemaError, sendError } from "./api-error.ts";
import { audited, changes } from "./audited.ts";
import type { ApiContext } from "./context.ts";
import { traceRequest } from "./request-trace.ts";
import type { Call, Route, RouteGroup } from "./route.ts";

export interface MountOptions {
  context: ApiContext;
  /** Returns whose key a request has. @throws ApiError 401, 402 or 429 */
  authorize(request: Request): Promise<Principal>;
  /** Aborts when the drain time is over. */
  over: AbortSignal;
}

/** Returns the router of a group: for each route key, body, schemas, handler, answer, in this order. */
export function mountGroup(group: RouteGroup, options: MountOptions): Router {
  // Ids may hold capitals, and a path has one spelling.
  const router = Router({ caseSensitive: true });
  for (const route of group.routes) {
    const maxBytes = route.maxBodyBytes ?? MAX_REQUEST_BYTES;
    const readBody: RequestHandler[] = route.body
      ? [requireJson, express.raw({ type: () => true, limit: maxBytes })]
      : [];
    const key: RequestHandler = async (request, response, next) => {
      // Where Anthropic's clients look for the request's id.
      if (dialectFor(request, group.dialect) === "anthropic")
        response.set("request-id", String(response.getHeader("x-request-id")));
      const principal = await options.authorize(request);
      if (![route.scope].flat().some((scope) => allows(principal.scopes, scope))) throw missingScope(route);
      response.locals.principal = principal;
      next();
    };
    const path = `${group.basePath}${route.path}`;
    router[route.method](
      route.path,
      timed(path, options.context),
      key,
      ...readBody,
      (request: Request, response: Response) =>
        traceRequest(request, response, path, (trace) =>
          withLogContext(aboutRequest(response, trace), () =>
            answer(route, path, request, response, { ...options, trace }),
          ),
        ),
    );
  }
  router.use(lastErrorHandler(options.context, group.dialect));
  return router;
}

/** What lines of the log say of a request. */
function aboutRequest(response: Response, trace: TraceCarrier): LogFields {
  const { tenant } = response.locals.principal as Principal;
  return { requestId: String(response.getHeader("x-request-id")), tenant, traceId: traceIdOf(trace) };
}

/** Tells metrics of a request when it has been answered, by the template of its path: ids are no label. */
function timed(route: string, { metrics }: ApiContext): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    if (metrics)
      response.once("close", () =>
        metrics.httpEnded(request.method, route, response.statusCode, performance.now() - startedAt),
      );
    next();
  };
}

async function answer(
  route: Route,
  path: string,
  request: Request,
  response: Response,
  { context, over, trace }: MountOptions & { trace: TraceCarrier },
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort(new Error("the client went away"));
  });
  const call: Call = {
    context,
    principal: response.locals.principal as Principal,
    params: checked(route.params, request.params),
    query: checked(route.query, request.query),
    body: route.body && checked(route.body, readJson(request.body, route.isExact ?? false)),
    requestId: String(response.getHeader("x-request-id")),
    trace,
    signal: AbortSignal.any([gone.signal, over]),
    request,
    response,
  };
  const handle = () => route.handle(call);
  const result = await (changes(route)
    ? audited(context.audit, { path, request, response }, handle)
    : handle());
  if (result !== undefined && !response.headersSent) response.json(result);
}

function checked<T>(schema: z.ZodType<T> | undefined, value: unknown): T | undefined {
  if (!schema) return undefined;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw schemaError(parsed.error);
}

/** Other types are refused, since a web page may send those to any address without asking. */
const requireJson: RequestHandler = (request, _response, next) => {
  const type = request.headers["content-type"];
  if (
    type === undefined
      ? Number(request.headers["content-length"] ?? 0) === 0
      : /^application\/([\w.+-]+\+)?json\b/i.test(type)
  )
    return next();
  throw new ApiError({
    status: 415,
    code: "unsupported_media_type",
    message: "the body is not sent as JSON",
    hint: "add the header content-type: application/json",
  });
};

/** @throws ApiError 400 for what is no JSON in UTF-8, or nests more than 200 levels */
function readJson(body: unknown, isExact: boolean): unknown {
  if (!Buffer.isBuffer(body) || body.length === 0) return {};
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
    if (nestsTooDeep(text)) throw new SyntaxError("too deep");
    return isExact ? parseExactly(text) : JSON.parse(text);
  } catch {
    throw new ApiError({
      status: 400,
      code: "invalid_json",
      message: "the body is no JSON in UTF-8, or nests more than 200 levels",
    });
  }
}

function missingScope({ scope: needed }: Route): ApiError {
  const scopes = [needed].flat();
  const [scope] = scopes;
  return new ApiError({
    status: 403,
    code: "missing_scope",
    message: `this key does not allow "${scopes.join('" or "')}"`,
    hint: `make one that does: gluellm keys create --scope ${scope}`,
  });
}

/** Answers 404 to a path that no group of routes has. */
export function answerNotFound(request: Request, response: Response, _next: NextFunction): void {
  sendError(
    response,
    new ApiError({
      status: 404,
      code: "unknown_url",
      message: "there is nothing at this path, or not by this method",
    }),
    dialectFor(request, "openai"),
  );
}
