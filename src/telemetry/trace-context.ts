import {
  type Context,
  context,
  createTraceState,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  trace,
} from "@opentelemetry/api";
import { TRACEPARENT } from "../shared/request-names.ts";

/** The trace that something belongs to, as payloads and records keep it (W3C Trace Context). */
export interface TraceCarrier {
  traceparent?: string | undefined;
  tracestate?: string | undefined;
}

/** Returns the span that a carrier names; undefined when it names none. */
export function spanContextOf({ traceparent, tracestate }: TraceCarrier): SpanContext | undefined {
  if (traceparent === undefined || !TRACEPARENT.test(traceparent)) return undefined;
  const [, traceId = "", spanId = "", flags = ""] = traceparent.split("-");
  const traceFlags = Number.parseInt(flags, 16);
  const traceState = tracestate ? { traceState: createTraceState(tracestate) } : {};
  return { traceId, spanId, traceFlags, isRemote: true, ...traceState };
}

/** Returns the context in which a carrier's span is the parent; the present one when it names none. */
export function contextOf(carrier: TraceCarrier): Context {
  const parent = spanContextOf(carrier);
  return parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : context.active();
}

/** Returns what a payload carries so that others' spans stand under this one; nothing for a span of no trace. */
export function carrierOf(span: Span | undefined): TraceCarrier {
  const { traceId, spanId, traceFlags, traceState } = span?.spanContext() ?? INVALID_SPAN_CONTEXT;
  if (!isSpanContextValid({ traceId, spanId, traceFlags })) return {};
  const tracestate = traceState?.serialize();
  const flags = traceFlags.toString(16).padStart(2, "0");
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, ...(tracestate && { tracestate }) };
}

/** Returns the id of the trace that a carrier names, for logs. */
export function traceIdOf({ traceparent }: TraceCarrier): string | undefined {
  return traceparent?.slice(3, 35);
}
