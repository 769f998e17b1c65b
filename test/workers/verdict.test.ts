import { describe, expect, test } from "vitest";
import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  GlueError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
  StructuredOutputError,
  TokenLimitError,
} from "../../src/shared/errors.ts";
import { BudgetWaitError, CircuitOpenError } from "../../src/shared/unsent-errors.ts";
import { backoffMs, verdictOn } from "../../src/workers/verdict.ts";

const BACKOFF = { minWaitMs: 2000, maxWaitMs: 30_000 };
const NOW = 1_000_000;
const row = {
  attempt: 1,
  maxAttempts: 12,
  deadlineAt: NOW + 3_600_000,
  isBatchRow: true,
  snoozes: 0,
  isOutage: false,
};
const fields = { message: "m" };

describe("verdicts by error class", () => {
  test.each([
    [new RateLimitError(fields), "snooze", "snooze"],
    [new OverloadedError(fields), "snooze", "snooze"],
    [new BudgetWaitError("openai:m", 100), "snooze", "snooze"],
    [new CircuitOpenError("openai:m", 100), "snooze", "snooze"],
    [new APIConnectionError(fields), "retry", "retry"],
    [new TokenLimitError(fields), "fail", "fail"],
    [new InvalidRequestError(fields), "fail", "fail"],
    [new StructuredOutputError(fields), "fail", "fail"],
    [new AuthenticationError(fields), "hold", "fail"],
    [new AccountError(fields), "hold", "fail"],
    [new GlueError({ code: "other", category: "internal", message: "m" }), "retry", "retry"],
  ])("%o", (error, onRow, onInteractive) => {
    expect(verdictOn(error, row, BACKOFF, NOW).kind).toBe(onRow);
    expect(verdictOn(error, { ...row, isBatchRow: false }, BACKOFF, NOW).kind).toBe(onInteractive);
  });

  test("the provider's pause is taken as it is", () => {
    const error = new RateLimitError({ ...fields, retryAfterMs: 61_234 });
    expect(verdictOn(error, row, BACKOFF, NOW)).toMatchObject({ kind: "snooze", delayMs: 61_234 });
  });

  test("who waits: a 429's budget, an overload that names its time or a breaker's queue, else the job alone", () => {
    const scopeOf = (error: GlueError) => {
      const verdict = verdictOn(error, row, BACKOFF, NOW);
      return verdict.kind === "snooze" && verdict.scope;
    };
    expect(scopeOf(new RateLimitError(fields))).toBe("budget");
    expect(scopeOf(new RateLimitError({ ...fields, retryAfterMs: 5 }))).toBe("budget");
    expect(scopeOf(new OverloadedError({ ...fields, retryAfterMs: 5 }))).toBe("queue");
    expect(scopeOf(new OverloadedError(fields))).toBe("job");
    expect(scopeOf(new CircuitOpenError("openai:m", 5))).toBe("queue");
    expect(scopeOf(new BudgetWaitError("openai:m", 5))).toBe("job");
  });

  test("while the circuit breaker is open a failed call uses up no attempt", () => {
    const last = { ...row, attempt: 12, isOutage: true };
    expect(verdictOn(new APIConnectionError(fields), last, BACKOFF, NOW)).toMatchObject({
      kind: "snooze",
      scope: "job",
    });
    expect(verdictOn(new InvalidRequestError(fields), last, BACKOFF, NOW).kind).toBe("fail");
  });

  test("a guessed wait never fails a job before its deadline", () => {
    const verdict = verdictOn(new BudgetWaitError("openai:m", 9_000_000), row, BACKOFF, NOW);
    expect(verdict).toMatchObject({ kind: "snooze", delayMs: 30_000 });
    const late = { ...row, deadlineAt: NOW + 5000 };
    expect(verdictOn(new BudgetWaitError("openai:m", 9_000_000), late, BACKOFF, NOW)).toMatchObject({
      kind: "snooze",
      delayMs: 5000,
    });
  });

  test("pauses use up no attempt, other faults do", () => {
    const last = { ...row, attempt: 12 };
    expect(verdictOn(new RateLimitError(fields), last, BACKOFF, NOW).kind).toBe("snooze");
    expect(verdictOn(new APIConnectionError(fields), last, BACKOFF, NOW).kind).toBe("fail");
  });

  test("a pause past the deadline fails the job, and says so", () => {
    const error = new RateLimitError({ ...fields, retryAfterMs: 200_000 });
    const verdict = verdictOn(error, { ...row, deadlineAt: NOW + 60_000 }, BACKOFF, NOW);
    expect(verdict).toMatchObject({ kind: "fail", error: { code: "deadline_exceeded" } });
    expect(verdict.kind === "fail" && verdict.error.message).toMatch(/comes before .* 200 s .*rate_limit/);
    expect(verdict, "the others wait all the same").toMatchObject({
      pause: { scope: "budget", delayMs: 200_000 },
    });
  });

  test("a pause of hours is the queue's to wait for", () => {
    const error = new RateLimitError({ ...fields, retryAfterMs: 4_000_000 });
    const verdict = verdictOn(error, { ...row, deadlineAt: NOW + 60_000 }, BACKOFF, NOW);
    expect(verdict).toMatchObject({ kind: "snooze", scope: "budget", delayMs: 4_000_000 });
  });
});

test("backoff lies between its floor and a ceiling that doubles up to the maximum", () => {
  expect(backoffMs(1, BACKOFF, () => 0)).toBe(2000);
  expect(backoffMs(1, BACKOFF, () => 1)).toBe(4000);
  expect(backoffMs(2, BACKOFF, () => 1)).toBe(8000);
  expect(backoffMs(50, BACKOFF, () => 1)).toBe(30_000);
  expect(backoffMs(3, { minWaitMs: 500, maxWaitMs: 100 }, () => 1)).toBe(500);
  expect(backoffMs(3, { minWaitMs: 0, maxWaitMs: 100 }, () => 1)).toBe(0);
});
