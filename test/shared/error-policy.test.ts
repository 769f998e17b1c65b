import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ERROR_POLICIES, type ErrorPolicy, policyOf } from "../../src/shared/error-policy.ts";
import * as errors from "../../src/shared/errors.ts";
import * as unsent from "../../src/shared/unsent-errors.ts";

const SRC = join(import.meta.dirname, "../../src");
const fields = { message: "m" };
const withCode = (code: string) => new errors.GlueError({ ...fields, code, category: "internal" });

/** verdict, scope, next model, provider, counts, equal requests */
type Decisions = readonly [
  ErrorPolicy["verdict"],
  ErrorPolicy["scope"],
  ErrorPolicy["fallsBack"],
  ErrorPolicy["provider"],
  ErrorPolicy["counts"],
  ErrorPolicy["followers"],
];
const BUG: Decisions = ["retry", "job", "whenStuck", "unknown", "request", "none"];
const OVER: Decisions = ["fail", "job", "never", "unknown", "nothing", "none"];

const CASES: readonly (readonly [errors.GlueError, ...Decisions])[] = [
  [new errors.RateLimitError(fields), "snooze", "budget", "whenStuck", "limited", "rateLimited", "none"],
  [new errors.OverloadedError(fields), "snooze", "queueIfTimed", "atOnce", "down", "rateLimited", "none"],
  [new errors.APIConnectionError(fields), "retry", "job", "atOnce", "down", "request", "passing"],
  [new errors.TokenLimitError(fields), "fail", "job", "whenStuck", "works", "request", "lasting"],
  [new errors.InvalidRequestError(fields), "fail", "job", "never", "works", "request", "lasting"],
  [
    new errors.InvalidRequestError({ ...fields, code: "unsupported_parameter" }),
    ...(["fail", "job", "whenStuck", "works", "request", "lasting"] as const),
  ],
  [new errors.StructuredOutputError(fields), "fail", "job", "never", "works", "nothing", "lasting"],
  [new errors.AuthenticationError(fields), "hold", "job", "whenStuck", "works", "request", "lasting"],
  [new errors.AccountError(fields), "hold", "job", "whenStuck", "works", "request", "lasting"],
  [
    new errors.LLMError({ ...fields, code: "new", category: "provider" }),
    ...(["retry", "job", "whenStuck", "works", "request", "lasting"] as const),
  ],
  [new errors.CostLimitError(fields), "stop", "job", "never", "unknown", "nothing", "none"],
  [new unsent.CircuitOpenError("openai:m", 5), "snooze", "queue", "atOnce", "unknown", "nothing", "none"],
  [new unsent.BudgetWaitError("openai:m", 5), "snooze", "job", "whenStuck", "unknown", "nothing", "none"],
  [
    new unsent.PausedError("openai:m", { until: 0, reason: "r" }, 5),
    ...(["snooze", "queue", "whenStuck", "unknown", "nothing", "none"] as const),
  ],
  [
    new unsent.CostWaitError({ ...fields, code: "cost_wait", category: "account" }),
    ...(["snooze", "job", "whenStuck", "unknown", "nothing", "none"] as const),
  ],
  [new unsent.TenantWaitError("red"), "snooze", "job", "never", "unknown", "nothing", "none"],
  [new unsent.CacheWaitError(5), "snooze", "job", "whenStuck", "unknown", "nothing", "none"],
  [
    new unsent.BudgetExceededError("openai:m", 2, 1),
    ...(["fail", "job", "whenStuck", "unknown", "nothing", "lasting"] as const),
  ],
  [new unsent.RateLimiterClosedError(), "retry", "job", "never", "unknown", "nothing", "none"],
  [new errors.JobCancelledError(), ...OVER],
  [new errors.GuardrailError(), ...OVER],
  [withCode("approval_timeout"), ...OVER],
  [withCode("conversation_lost"), ...OVER],
  [withCode("deadline_exceeded"), ...OVER],
  [withCode("corrupt_data"), ...OVER],
  [new errors.RateLimitError({ ...fields, code: "deadline_exceeded" }), ...OVER],
  [withCode("other"), ...BUG],
  [new errors.InputError("m"), ...BUG],
  [new errors.ConfigurationError("m"), ...BUG],
  [new errors.JobLostError("id"), ...BUG],
  [new errors.NonDeterminismError(fields), ...BUG],
  [new errors.WorkflowError(fields), ...BUG],
  [new errors.NonRetryableError("m"), ...BUG],
];

describe("what follows from", () => {
  test.each(CASES.map(([error, ...decisions]) => ({ name: error.name, code: error.code, error, decisions })))(
    "$name $code",
    ({ error, decisions }) => {
      const { verdict, scope, fallsBack, provider, counts, followers } = policyOf(error);
      expect([verdict, scope, fallsBack, provider, counts, followers]).toEqual(decisions);
    },
  );

  test("what is no error of ours", () => {
    for (const thrown of [new TypeError("m"), "text", undefined, { code: "deadline_exceeded" }]) {
      expect(policyOf(thrown)).toMatchObject({ verdict: "retry", provider: "unknown", counts: "request" });
    }
  });

  test("a subclass: what follows from its parent", () => {
    class Refusal extends errors.InvalidRequestError {}
    expect(policyOf(new Refusal(fields))).toBe(policyOf(new errors.InvalidRequestError(fields)));
  });
});

test("messages that a provider refused, or answers that did not fit, are not used again", () => {
  const spoiling = CASES.filter(([error]) => policyOf(error).spoils !== "nothing");
  expect(spoiling.map(([error]) => [error.name, error.code, policyOf(error).spoils])).toEqual([
    ["TokenLimitError", "context_length_exceeded", "messages"],
    ["InvalidRequestError", "invalid_request", "messages"],
    ["InvalidRequestError", "unsupported_parameter", "messages"],
    ["StructuredOutputError", "structured_output", "answers"],
    ["BudgetExceededError", "budget_exceeded", "messages"],
    ["GuardrailError", "guardrail_blocked", "messages"],
  ]);
});

test("every exported error class has a row, and a case above", () => {
  const parents = new Map<string, string>();
  for (const path of globSync("**/*.ts", { cwd: SRC })) {
    // What the API refuses never becomes a job.
    if (path.startsWith("api/")) continue;
    const text = readFileSync(join(SRC, path), "utf8");
    for (const [, name = "", parent = ""] of text.matchAll(/^export class (\w+) extends (\w+)/gm)) {
      parents.set(name, parent);
    }
  }
  const isOurs = (name = ""): boolean => name === "GlueError" || (name !== "" && isOurs(parents.get(name)));
  const classes = [...parents.keys(), "GlueError"].filter(isOurs);
  expect(classes.length).toBeGreaterThan(20);
  const withRow = new Set(ERROR_POLICIES.flatMap(({ of }) => of.map(({ name }) => name)));
  const withCase = new Set(CASES.map(([error]) => error.name));
  expect(classes.filter((name) => !withRow.has(name) || !withCase.has(name))).toEqual([]);
});
