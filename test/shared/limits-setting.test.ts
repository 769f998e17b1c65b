import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { budgetId, budgetInForce, configuredBudget, limitsInForce } from "../../src/shared/budget.ts";
import { loadSettings } from "../../src/shared/settings.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "gluellm-limits-"));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const load = (limits: unknown, env: Record<string, string> = {}) =>
  loadSettings({ cwd, env: { GLUELLM_LIMITS: JSON.stringify(limits), ...env } });

describe("GLUELLM_LIMITS", () => {
  test("may be a file", () => {
    writeFileSync(join(cwd, "limits.json"), '{"openai:*": {"rpm": 5, "maxInFlight": 3}}');
    expect(load(undefined, { GLUELLM_LIMITS: "limits.json" }).limits).toEqual({
      "openai:*": { rpm: 5, maxInFlight: 3 },
    });
    expect(() => load(undefined, { GLUELLM_LIMITS: "none.json" })).toThrow(
      /readable file.*none\.json.*ENOENT/,
    );
  });

  test.each([
    [{ rpm: 0 }, "rpm: must be greater than 0"],
    [{ tpm: -5 }, "tpm: must be greater than 0"],
    [{ itpm: "many" }, "itpm: must be a number"],
    [{ otpm: null }, "otpm: must be a number"],
    [{ maxInFlight: 1.5 }, "maxInFlight: must be a whole number"],
    [{ bucket: "a:b" }, "bucket: must be 1 to 64 letters"],
    [{ rpn: 5 }, "rpn"],
  ])("%j is refused by name", (budget, message) => {
    expect(() => load({ "openai:*": budget })).toThrow(message);
  });

  test("patterns that name one bucket share one budget, each stating a part of it", () => {
    const { limits } = load({
      "anthropic:claude-a*": { bucket: "claude", rpm: 50 },
      "anthropic:claude-b*": { bucket: "claude", itpm: 40_000 },
      "anthropic:other": { rpm: 7 },
    });
    const shared = { bucket: "claude", rpm: 50, itpm: 40_000 };
    expect(configuredBudget(limits, "anthropic:claude-a1")).toEqual(shared);
    expect(configuredBudget(limits, "anthropic:claude-b1")).toEqual(shared);
    expect(budgetId(limits, "anthropic:claude-a1")).toBe("claude");
    expect(budgetId(limits, "anthropic:other")).toBe("anthropic:other");
    expect(budgetId(limits, "openai:x")).toBe("openai:x");
  });

  test("a bucket with two values of one limit is refused", () => {
    const limits = { "openai:a": { bucket: "b", rpm: 5 }, "openai:b": { bucket: "b", rpm: 6 } };
    expect(() => load(limits)).toThrow(/openai:b\.rpm: bucket b already has rpm 5/);
  });
});

describe("RATE_LIMIT_*", () => {
  test("is a budget for all models without a pattern of their own", () => {
    const env = { RATE_LIMIT_MAX_CALLS: "10", RATE_LIMIT_PERIOD: "30" };
    const { limits } = load({ "openai:*": { tpm: 5 } }, env);
    expect(configuredBudget(limits, "xai:grok")).toEqual({ rpm: 20, burstSeconds: 30 });
    expect(configuredBudget(limits, "openai:o3")).toEqual({ tpm: 5 });
  });

  test("defaults to 60 calls per 60 s once it is switched on, and false switches every budget off", () => {
    expect(load({}, { RATE_LIMIT_ENABLED: "true" }).limits).toEqual({ "*": { rpm: 60, burstSeconds: 60 } });
    expect(load({}).limits).toEqual({});
    const off = load({ "openai:*": { rpm: 5 } }, { RATE_LIMIT_ENABLED: "false" });
    expect(off).toMatchObject({ limits: {}, learnLimits: false });
  });

  test("text and zero are refused", () => {
    expect(() => load({}, { RATE_LIMIT_MAX_CALLS: "many" })).toThrow(
      "RATE_LIMIT_MAX_CALLS: must be a number",
    );
    expect(() => load({}, { RATE_LIMIT_PERIOD: "0" })).toThrow("RATE_LIMIT_PERIOD: must be from 0.001");
  });
});

test("of a configured and a stated limit the lower one is in force, and people see whose it is", () => {
  const configured = { rpm: 100, tpm: 5000, bucket: "b" };
  const stated = { rpm: 60, tpm: 9000, otpm: 400 };
  expect(budgetInForce(configured, stated)).toEqual({ rpm: 60, tpm: 5000, otpm: 400, bucket: "b" });
  expect(budgetInForce(configured, undefined)).toBe(configured);
  expect(budgetInForce(undefined, undefined)).toBeUndefined();
  expect(limitsInForce(configured, stated)).toEqual({
    rpm: { perMinute: 60, source: "learned" },
    tpm: { perMinute: 5000, source: "configured" },
    otpm: { perMinute: 400, source: "learned" },
  });
});
