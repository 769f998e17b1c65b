import type { IncomingHttpHeaders } from "node:http";
import type { Request, Response } from "express";
import { MAX_TRACESTATE_CHARS, TRACEPARENT } from "../shared/request-names.ts";
import { carrierOf, contextOf, type TraceCarrier } from "../telemetry/trace-context.ts";
import { isTracing, setSpanAttributes, startSpan, withSpan } from "../telemetry/tracing.ts";

/** Returns the trace that a request belongs to (W3C Trace Context); empty when it names none. */
function callersTrace({ traceparent, tracestate }: IncomingHttpHeaders): TraceCarrier {
  if (typeof traceparent !== "string" || !TRACEPARENT.test(traceparent)) return {};
  const hasState = typeof tracestate === "string" && tracestate.length <= MAX_TRACESTATE_CHARS;
  return { traceparent, ...(hasState && { tracestate }) };
}

/**
 * Answers a request inside a span, which ends with the answer's last byte.
 * @param route its path as it is defined, such as `/v1/models/:id`
 * @param answer is told the trace of what it asks for
 */
export function traceRequest<T>(
  request: Request,
  response: Response,
  route: string,
  answer: (carrier: TraceCarrier) => Promise<T>,
): Promise<T> {
  const caller = callersTrace(request.headers);
  if (!isTracing()) return answer(caller);
  const { method } = request;
  const span = startSpan(`${method} ${route}`, {
    kind: "SERVER",
    parent: contextOf(caller),
    attributes: () => ({
      "http.request.method": method,
      "http.route": route,
      "gluellm.request.id": String(response.getHeader("x-request-id")),
    }),
  });
  response.once("close", () => {
    const { statusCode } = response;
    const failed = statusCode >= 500 ? String(statusCode) : undefined;
    setSpanAttributes({ "http.response.status_code": statusCode, "error.type": failed }, span);
    if (failed) span.setStatus({ code: 2 });
    span.end();
  });
  return withSpan(span, () => answer(carrierOf(span)));
}
