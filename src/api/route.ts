import type { Request, Response } from "express";
import type { z } from "zod";
import type { Principal } from "../shared/principal.ts";
import type { Scope } from "../shared/scopes.ts";
import type { TraceCarrier } from "../telemetry/trace-context.ts";
import type { ApiContext } from "./context.ts";

/** Whose clients a route's callers are: it decides how errors are written. */
export type VendorDialect = "openai" | "anthropic";

/** One request that has passed the key check and the route's schemas. */
export interface Call<Params = unknown, Query = unknown, Body = unknown> {
  context: ApiContext;
  /** Whose key it is; `call.context.clientOf(call.principal)` makes its jobs. */
  principal: Principal;
  params: Params;
  query: Query;
  /** Checked; undefined for a route without the schema `body`. */
  body: Body;
  requestId: string;
  /** The trace of what it asks for. */
  trace: TraceCarrier;
  /** Aborts when the client goes away, and when the drain time of a closing server is over. */
  signal: AbortSignal;
  request: Request;
  response: Response;
}

/** One call of the API. The OpenAPI document is made of these. */
export interface Route<Params = unknown, Query = unknown, Body = unknown> {
  method: "get" | "post" | "put" | "patch" | "delete";
  /** Below the group's base path, in express's words: `/models/:id`. */
  path: string;
  /** Of a method beside GET: it changes nothing, so that the audit does not tell of it. */
  isRead?: true;
  /** A line for people. */
  summary: string;
  /** What the key must allow; of several, one. */
  scope: Scope | readonly Scope[];
  params?: z.ZodType<Params>;
  query?: z.ZodType<Query>;
  /** Of a JSON body. Absent: the body is not read; the handler may read `call.request` as a stream. */
  body?: z.ZodType<Body>;
  /** Whether numbers that JSON's reader would change reach the handler with their digits (`WrittenNumber`). Default false. */
  isExact?: boolean;
  /** The answer, for the document alone. */
  answer?: z.ZodType;
  /** The content type of an answer that is not JSON, or of a body that `body` does not describe, for the document. */
  answerType?: string;
  bodyType?: string;
  /** The largest JSON body in bytes; default 20 MiB. */
  maxBodyBytes?: number;
  /**
   * Returns the answer's JSON (status 200, unless `call.response.status()` was set), or undefined when it has written the
   * response itself.
   * @throws what `api-error.ts` writes
   */
  handle(call: Call<Params, Query, Body>): Promise<unknown>;
}

/** Routes that belong together: one file in `routes/`, named in `route-groups.ts`. */
export interface RouteGroup {
  /** A tag of the document. */
  name: string;
  basePath: string;
  dialect: VendorDialect;
  routes: readonly Route[];
  /** Begins what the group does beside its requests; what it returns is called when the server closes. */
  start?(context: ApiContext): Promise<() => Promise<void>>;
}

/** Returns the route; it is here for the types: the handler sees what the schemas give. */
export function defineRoute<Params, Query, Body>(route: Route<Params, Query, Body>): Route {
  return route as Route;
}
