import { describe, expect, test } from "vitest";
import { configuredBudget } from "../../src/shared/budget.ts";
import { InputError } from "../../src/shared/errors.ts";
import { matchesGlob } from "../../src/shared/glob.ts";
import { modelRef, parseModel } from "../../src/shared/model-name.ts";
import { completionQueueName, parseCompletionQueueName } from "../../src/shared/queue-name.ts";

const KNOWN = ["openai", "openrouter", "anthropic"];

describe("model names", () => {
  test.each([
    ["openai:gpt-4o", undefined, "openai:gpt-4o"],
    ["anthropic/claude-x", undefined, "anthropic:claude-x"],
    ["openrouter:meta-llama/llama-3:free", undefined, "openrouter:meta-llama/llama-3:free"],
    ["gpt-4o", undefined, "openai:gpt-4o"],
    ["gpt-4o", "anthropic", "anthropic:gpt-4o"],
    ["meta-llama/llama-3", "openrouter", "openrouter:meta-llama/llama-3"],
    ["openai:ft:gpt-4o:org::id", undefined, "openai:ft:gpt-4o:org::id"],
  ])("%s with default %s is %s", (text, fallback, key) => {
    expect(parseModel(text, KNOWN, fallback).key).toBe(key);
  });

  test.each(["nobody:gpt", "", "a b", "x".repeat(201), "openai:\u0000"])("%j is refused", (text) => {
    expect(() => parseModel(text, KNOWN)).toThrow(InputError);
  });
});

describe("queue names", () => {
  test.each(["gpt-4.1-mini", "meta-llama/llama-3:free", "odd model!'()*~%", "ünï"])(
    "%s comes back",
    (model) => {
      const ref = modelRef("openrouter", model);
      const name = completionQueueName(ref);
      expect(name).not.toMatch(/[:*/\s]/);
      expect(parseCompletionQueueName(name)).toEqual(ref);
    },
  );

  test.each(["workflows", "completions.x", "completions.x.%zz"])("%s is no completion queue", (name) => {
    expect(parseCompletionQueueName(name)).toBeUndefined();
  });
});

test("globs match whole names and take other characters literally", () => {
  expect(matchesGlob("completions.openai.*", "completions.openai.gpt-4.1")).toBe(true);
  expect(matchesGlob("completions.openai.*", "completionsXopenai.gpt")).toBe(false);
  expect(matchesGlob("gpt", "gpt-4")).toBe(false);
  expect(matchesGlob("*", "")).toBe(true);
});

test("the closest limit wins: exact, then the longest pattern", () => {
  const limits = {
    "*": { rpm: 1 },
    "openai:*": { rpm: 2 },
    "openai:gpt-4*": { rpm: 3 },
    "openai:gpt-4o": { rpm: 4 },
  };
  expect(configuredBudget(limits, "openai:gpt-4o")?.rpm).toBe(4);
  expect(configuredBudget(limits, "openai:gpt-4.1")?.rpm).toBe(3);
  expect(configuredBudget(limits, "openai:o3")?.rpm).toBe(2);
  expect(configuredBudget({ "xai:*": { rpm: 9 } }, "openai:o3")).toBeUndefined();
});
