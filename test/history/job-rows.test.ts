import { expect, test } from "vitest";
import { jobRows } from "../../src/history/job-rows.ts";
import { OUTBOX_VERSION, readOutboxEvent } from "../../src/store/outbox-event.ts";

function callsOf(figures: object) {
  const fields = {
    v: OUTBOX_VERSION,
    kind: "job",
    version: 1,
    id: "job-1",
    state: "succeeded",
    type: "job.succeeded",
  };
  const entry = { ...fields, endedAt: 5, figures: JSON.stringify({ calls: 1, ...figures }) };
  const event = readOutboxEvent(Object.entries(entry).flatMap(([name, value]) => [name, String(value)]));
  if (event?.kind !== "job") throw new Error("no event of a job");
  return jobRows(event).calls;
}

test("a row of a provider batch has no time of its own, and all of them one lane", () => {
  expect(callsOf({ lane: "batch:batch_1" })).toMatchObject([{ lane: "batch", latency_ms: undefined }]);
  expect(callsOf({ lane: "batch:" })).toMatchObject([{ lane: "batch", latency_ms: undefined }]);
  expect(callsOf({ lane: "flex", latencyMs: 40 })).toMatchObject([{ lane: "flex", latency_ms: 40 }]);
  expect(callsOf({ latencyMs: 30 })).toMatchObject([{ lane: "online", latency_ms: 30 }]);
});
