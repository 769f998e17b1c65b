import {
  type Attributes,
  type AttributeValue,
  type Context,
  context,
  INVALID_TRACEID,
  type Link,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { GlueError } from "../shared/errors.ts";
import { idsOf, withIds } from "./span-ids.ts";
import { contextOf, spanContextOf, type TraceCarrier } from "./trace-context.ts";

export type { Span } from "@opentelemetry/api";

/** What no registered provider is. */
const NOOP_PROVIDER = new ProxyTracerProvider().getDelegate();

const tracer = trace.getTracer("gluellm");

/** Returns whether anybody takes spans. It is asked before anything is made for them: without tracing nothing is. */
export function isTracing(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegate() !== NOOP_PROVIDER;
}

/** Returns whether a span that begins here would be kept by somebody, as far as is known: in a trace that is not kept none is. */
export function keepsSpans(): boolean {
  return isTracing() && unkept(context.active()) === undefined;
}

let hasContent = false;

/** Says whether spans have prompts, answers, arguments and results of tools. */
export function keepContent(isKept: boolean): void {
  hasContent = isKept;
}

/** Returns whether spans have prompts, answers, arguments and results of tools. */
export function keepsContent(): boolean {
  return hasContent;
}

let decidesOnce = false;

/** Says whether the SDK keeps no part of a trace of which it has not kept the first span, as ours does. */
export function decideOnce(isSo: boolean): void {
  decidesOnce = isSo;
}

/** Returns the span above, when nothing below it is kept either. */
function unkept(parent: Context): Span | undefined {
  if (!decidesOnce) return undefined;
  const above = trace.getSpan(parent);
  if (!above) return undefined;
  const { traceId, traceFlags } = above.spanContext();
  return (traceFlags & TraceFlags.SAMPLED) === 0 && traceId !== INVALID_TRACEID ? above : undefined;
}

/** Attributes as they are at hand; those that are undefined are left out. */
export type SomeAttributes = Record<string, AttributeValue | undefined>;

export interface SpanStart {
  kind?: keyof typeof SpanKind;
  /** Made only where somebody takes the span. */
  attributes?: () => SomeAttributes;
  /** Default: the present one. */
  parent?: Context;
}

/**
 * Does work inside a span, which ends with it. Without tracing it only does the work, with no span; in a trace that nobody keeps, with the
 * span above.
 */
export async function inSpan<T>(
  name: string,
  { kind = "INTERNAL", attributes, parent = context.active() }: SpanStart,
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  if (!isTracing()) return work(undefined);
  const above = unkept(parent);
  if (above) return parent === context.active() ? work(above) : context.with(parent, () => work(above));
  const span = tracer.startSpan(name, { kind: SpanKind[kind] }, parent);
  if (attributes && span.isRecording()) span.setAttributes(defined(attributes()));
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    markFailed(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** Begins a span, which the caller ends; for what ends elsewhere than where it begins. */
export function startSpan(name: string, { kind = "INTERNAL", attributes, parent }: SpanStart): Span {
  return tracer.startSpan(name, { kind: SpanKind[kind], attributes: defined(attributes?.() ?? {}) }, parent);
}

/** The span of something that several processes work on, one after the other. */
export interface SharedSpanStart {
  /** Of the thing, by which each process finds its span: `job:<id>`. */
  id: string;
  kind: keyof typeof SpanKind;
  /** Epoch milliseconds. */
  startedAt: number;
  /** What it stands under, or, where `isLinked`, what it only names. */
  carrier: TraceCarrier;
  isLinked?: boolean;
}

/** Begins, or goes on with, the span of such a thing. It counts once it is ended, by whoever brings the thing to its end. */
export function sharedSpan(name: string, { id, kind, startedAt, carrier, isLinked }: SharedSpanStart): Span {
  const link = isLinked ? spanContextOf(carrier) : undefined;
  const links: Link[] = link ? [{ context: link }] : [];
  const parent = isLinked || !carrier.traceparent ? ROOT_CONTEXT : contextOf(carrier);
  const above = unkept(parent);
  if (above) return above;
  return withIds(idsOf(id), () =>
    tracer.startSpan(name, { kind: SpanKind[kind], startTime: startedAt, links }, parent),
  );
}

/** Returns the id of the trace that such a thing's span belongs to. */
export function sharedTraceId({
  id,
  carrier,
  isLinked,
}: Pick<SharedSpanStart, "id" | "carrier" | "isLinked">): string {
  return (isLinked ? undefined : spanContextOf(carrier)?.traceId) ?? idsOf(id).traceId;
}

/** Does work whose spans stand under this one. */
export function withSpan<T>(span: Span, work: () => T): T {
  return context.with(trace.setSpan(context.active(), span), work);
}

/** Does what outlives the span in which it happens to be begun. */
export function outsideSpans<T>(work: () => T): T {
  return context.with(ROOT_CONTEXT, work);
}

/** Returns the span inside of which this is called. */
export function activeSpan(): Span | undefined {
  return trace.getActiveSpan();
}

/** What kept a job from its call. */
export type WaitReason =
  | "queue"
  | "budget"
  | "breaker"
  | "cache"
  | "conversation"
  | "provider"
  | "retry"
  | "other";

/** A wait of less is none. */
const MIN_WAIT_MS = 1;

/** Records a wait that is over, in epoch milliseconds, under the present span. */
export function recordWait(reason: WaitReason, startedAt: number, endedAt = Date.now()): void {
  if (endedAt - startedAt < MIN_WAIT_MS || !keepsSpans()) return;
  const attributes = { "gluellm.wait.reason": reason };
  tracer.startSpan(`wait ${reason}`, { startTime: startedAt, attributes }).end(endedAt);
}

/** Records that what a span stands for failed; our own words alone, since others may quote a request. */
export function markFailed(span: Span, error: unknown): void {
  const code = error instanceof Error && !(error instanceof GlueError) ? error.name : codeOf(error);
  span.setAttribute("error.type", code);
  span.setStatus({
    code: SpanStatusCode.ERROR,
    message: error instanceof GlueError ? error.message : code,
  });
}

function codeOf(error: unknown): string {
  const { code } = Object(error) as { code?: unknown };
  return typeof code === "string" ? code : typeof error;
}

/**
 * Adds attributes to a span, default the present one; undefined values are left out. Without tracing it does nothing.
 *
 * ```ts
 * setSpanAttributes({ "order.id": order.id });
 * ```
 */
export function setSpanAttributes(attributes: SomeAttributes, span: Span | undefined = activeSpan()): void {
  span?.setAttributes(defined(attributes));
}

function defined(attributes: SomeAttributes): Attributes {
  const some: Attributes = {};
  for (const name in attributes) if (attributes[name] !== undefined) some[name] = attributes[name];
  return some;
}
