import { describe, expect, test } from "vitest";
import { spansOf } from "../../src/producers/job-spans.ts";
import { endedAttempts } from "../../src/store/job-log.ts";

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
    expect(inSeconds(spansOf({ ...waiting, waitsFor: "a worker with OPENAI_API_KEY" }))).toEqual([
      ["queue", 0, undefined],
    ]);
  });

  test("what waits for a person does so since it was put to sleep", () => {
    const job = { addedAt: START, startedAt: START + 1000, endedAt: undefined };
    const asleep = { waitsFor: "a person's answer on refund", suspendedAt: START + 3000 };
    expect(inSeconds(spansOf({ ...base, endedAt: undefined, job, ...asleep }))).toEqual([
      ["queue", 0, 1],
      ["model", 1, 3],
      ["wait", 3, undefined],
    ]);
  });

  test("what has waited for a person has waited, also after its end", () => {
    const job = { addedAt: START, startedAt: START + 60_000, endedAt: START + 64_000 };
    const slept = [{ startedAt: START + 1000, from: START + 3000, to: START + 60_000 }];
    const spans = spansOf({ ...base, endedAt: START + 64_000, job, latencyMs: 4000, slept });
    expect(inSeconds(spans)).toEqual([
      ["queue", 0, 1],
      ["model", 1, 3],
      ["wait", 3, 60],
      ["model", 60, 64],
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
          slept: [
            { startedAt: START + 50_000, from: START - 9000, to: START + 3000 },
            { from: START + 5000, to: START + 4000 },
          ],
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
