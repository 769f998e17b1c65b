import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { logFault } from "../../src/shared/fault-log.ts";

test("a flood of faults is a line per kind, and one every ten seconds with their count", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const lines: string[] = [];
  const logger = pino({ level: "debug" }, { write: (line: string) => lines.push(line) });
  const told = () => lines.splice(0).map((line) => JSON.parse(line) as Record<string, unknown>);
  for (let n = 0; n < 500; n++) {
    logFault(logger, `OOM command not allowed. script: ${n}`, { n }, "queue worker fault");
    // All parts of a process share it, by the place where their lines go.
    logFault(logger.child({ jobId: n }), `MISCONF ${n}`, {}, "queue worker fault");
    logFault(logger, "rate_limit", {}, "attempt failed", "warn");
    logFault(logger, `could not renew lock for job batch_${n}-a`, {}, "queue worker fault");
  }
  expect(told().map(({ fault, level }) => [fault, level])).toEqual([
    ["OOM command not allowed. script: 0", 50],
    ["MISCONF 0", 50],
    ["rate_limit", 40],
    ["could not renew lock for job batch_0-a", 50],
  ]);
  vi.advanceTimersByTime(10_000);
  expect(told()).toMatchObject([
    { n: 499, count: 499, seconds: 10 },
    { jobId: 499, count: 499 },
    { fault: "rate_limit", count: 499 },
    { count: 499 },
  ]);
  logFault(logger, "OOM again", {}, "queue worker fault");
  vi.advanceTimersByTime(10_000);
  expect(told()).toMatchObject([{ fault: "OOM again", count: 1 }]);
  vi.advanceTimersByTime(10_000);
  logFault(logger, "OOM later", {}, "queue worker fault");
  expect(told()).toMatchObject([{ fault: "OOM later" }]);
});
