import { carrierOf, contextOf, type TraceCarrier } from "../telemetry/trace-context.ts";
import { inSpan } from "../telemetry/tracing.ts";

interface Enqueued extends TraceCarrier {
  jobId: string;
  queue: string;
}

/** Adds a job inside a span, under the caller's or the present one; the job carries what `add` is told, and belongs to that trace. */
export function traceEnqueue(
  { jobId, queue, ...caller }: Enqueued,
  add: (carrier: TraceCarrier) => Promise<void>,
): Promise<void> {
  const attributes = () => ({ "gluellm.job.id": jobId, "gluellm.queue": queue });
  return inSpan("gluellm.enqueue", { kind: "PRODUCER", parent: contextOf(caller), attributes }, (span) =>
    add(carrierOf(span)),
  );
}
