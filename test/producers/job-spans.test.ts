import { describe, expect, test } from "vitest";
import { endedAttempts, spansOf } from "../../src/producers/job-spans.ts";

const START = Date.parse("2026-01-01T00:00:00.000Z");
const line = (seconds: number, attempt: number, code: string, again: number) =>
  `${new Date(START + seconds * 1000).toISOString()} attempt ${attempt} ended: ${code}: what it says; or not; again in ${again} s`;
const inSeconds = (spans: ReturnType<typeof spansOf>) =>
  spans.map(({ kind, from, to }) => [
    kind,
    (from - START) / 1000,
    to === undefined ? undefined : (to - START) / 1000,
  ]);

describe("where a job's time went", () => {
  const base = { askedAt: START, attempts: [], latencyMs: 0, toolMs: 0 };

  test("the queue, the wait of its worker for limits, the call, its tools", () => {
    const job = { addedAt: START, startedAt: START + 2000, endedAt: START + 10_000 };
    const spans = spansOf({ ...base, endedAt: START + 10_000, job, latencyMs: 4000, toolMs: 1000 });
    expect(inSeconds(spans)).toEqual([
      ["queue", 0, 2],
      ["budget", 2, 5],
      ["model", 5, 9],
      ["tool", 9, 10],
    ]);
  });

  test("attempts, and what the wait after each is for; a line of another form is left out", () => {
    const lines = [
      line(3, 1, "server_error", 2),
      "no line of ours",
      line(6, 2, "rate_limit", 4),
      line(11, 3, "circuit_open", 1),
    ];
    const attempts = endedAttempts(lines);
    expect(attempts.map(({ attempt, code, message }) => [attempt, code, message])).toEqual([
      [1, "server_error", "what it says; or not"],
      [2, "rate_limit", "what it says; or not"],
      [3, "circuit_open", "what it says; or not"],
    ]);
    const spans = spansOf({ ...base, attempts, endedAt: START + 15_000, job: undefined, latencyMs: 3000 });
    expect(inSeconds(spans)).toEqual([
      ["queue", 0, 3],
      ["retry", 3, 5],
      ["model", 5, 6],
      ["budget", 6, 10],
      ["model", 10, 11],
      ["breaker", 11, 12],
      ["model", 12, 15],
    ]);
  });

  test("what has not ended goes on: at work, or with the reason that its worker wrote", () => {
    const job = { addedAt: START, startedAt: START + 1000, endedAt: undefined };
    expect(inSeconds(spansOf({ ...base, endedAt: undefined, job }))).toEqual([
      ["queue", 0, 1],
      ["model", 1, undefined],
    ]);
    const waiting = { ...base, endedAt: undefined, job: undefined };
    expect(inSeconds(spansOf(waiting))).toEqual([["queue", 0, undefined]]);
    expect(inSeconds(spansOf({ ...waiting, waitsFor: "budget_wait: full" }))).toEqual([
      ["budget", 0, undefined],
    ]);
  });

  test("whatever is stored, no span leaves the job's time", () => {
    for (const latencyMs of [0, 5, 1e9])
      for (const toolMs of [0, 1e9]) {
        const attempts = endedAttempts([line(-5, 1, "connection", 90), line(400, 2, "paused", 0)]);
        const spans = spansOf({
          ...base,
          attempts,
          endedAt: START + 20_000,
          job: undefined,
          latencyMs,
          toolMs,
        });
        let at = START;
        for (const { from, to = 0 } of spans) {
          expect(from).toBe(at);
          expect(to).toBeGreaterThan(from);
          at = to;
        }
        expect(at).toBe(START + 20_000);
      }
  });
});
