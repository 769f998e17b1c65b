import { expect, test } from "vitest";
import { configureTracing } from "../../src/index.ts";
import { carrierOf, type TraceCarrier } from "../../src/telemetry/trace-context.ts";
import { activeSpan, inSpan, recordWait, sharedSpan, withSpan } from "../../src/telemetry/tracing.ts";
import { OtlpReceiver } from "../support/otlp-receiver.ts";

const TRACES = 40;

/** A job's spans, as an enqueuer and a worker make them; returns what each of them tells the next one. */
async function traceOfAJob(n: number): Promise<TraceCarrier[]> {
  const told: TraceCarrier[] = [];
  await inSpan("enqueue", {}, async (span) => void told.push(carrierOf(span)));
  const carrier = told[0] ?? {};
  const job = sharedSpan("job", { id: `job:${n}`, kind: "CONSUMER", startedAt: Date.now(), carrier });
  await withSpan(job, async () => {
    recordWait("queue", Date.now() - 100);
    await inSpan("call", {}, async () => void told.push(carrierOf(activeSpan())));
  });
  job.end();
  return told;
}

test("a trace is kept as a whole or not at all, and who comes later is told which", async () => {
  await using receiver = await OtlpReceiver.open();
  await using tracing = await configureTracing({ endpoint: receiver.url, sampleRatio: 0.5 });
  const told = await Promise.all(Array.from({ length: TRACES }, (_, n) => traceOfAJob(n)));
  await tracing.flush();
  const isKept = ({ traceparent = "" }: TraceCarrier) => traceparent.endsWith("-01");
  const ids = (carriers: TraceCarrier[]) =>
    new Set(carriers.map(({ traceparent }) => traceparent?.slice(3, 35)));
  for (const carriers of told) {
    expect(ids(carriers).size).toBe(1);
    expect(new Set(carriers.map(isKept)).size).toBe(1);
  }
  const kept = told.filter((carriers) => carriers.every(isKept));
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.length).toBeLessThan(TRACES);
  for (const carriers of kept) {
    const [id] = ids(carriers);
    const names = receiver.spans.filter(({ traceId }) => traceId === id).map(({ name }) => name);
    expect(names.toSorted()).toEqual(["call", "enqueue", "job", "wait queue"]);
  }
  expect(receiver.spans).toHaveLength(kept.length * 4);
});
