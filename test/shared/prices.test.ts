import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { costUsd, isPriced } from "../../src/shared/cost.ts";
import { parseModel } from "../../src/shared/model-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { readTokenUse } from "../../src/shared/token-use.ts";
import { usd } from "../../src/shared/usd.ts";

const ENTRIES = ["openai", "anthropic", "xai", "google", "openai-eu", "simulator"];
const model = (name: string) => parseModel(name, ENTRIES);
const use = (prompt: number, completion: number, more = {}) => ({
  prompt,
  completion,
  total: prompt + completion,
  cached: 0,
  ...more,
});

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "gluellm-prices-"));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const load = (prices: unknown) => loadSettings({ cwd, env: { GLUELLM_PRICES: JSON.stringify(prices) } });

describe("the price list", () => {
  test("prices input and output of a model apart, in USD", () => {
    const input = costUsd({}, model("openai:gpt-4o-mini"), use(1_000_000, 0)) ?? 0;
    const output = costUsd({}, model("openai:gpt-4o-mini"), use(0, 1_000_000)) ?? 0;
    expect(input).toBeCloseTo(0.15, 6);
    expect(output).toBeCloseTo(0.6, 6);
    expect(costUsd({}, model("openai:gpt-4o-mini"), use(2000, 500))).toBeCloseTo(0.0006, 9);
  });

  test("prompt tokens from a cache cost less, those written to one more", () => {
    const claude = model("anthropic:claude-sonnet-4-5");
    const plain = costUsd({}, claude, use(10_000, 0)) ?? 0;
    expect(costUsd({}, claude, use(10_000, 0, { cached: 10_000 }))).toBeCloseTo(plain * 0.1, 9);
    expect(costUsd({}, claude, use(10_000, 0, { cacheWritten: 10_000 }))).toBeCloseTo(plain * 1.25, 9);
    expect(costUsd({}, claude, use(100, 0, { cached: 900, cacheWritten: 900 }))).toBeCloseTo(plain / 1000, 9);
  });

  test("is found under our names of the providers, and for further accounts at one", () => {
    for (const name of ["xai:grok-4", "google:gemini-2.5-flash", "openai-eu:gpt-4o"]) {
      expect(costUsd({}, model(name), use(1000, 1000)), name).toBeGreaterThan(0);
    }
  });

  test("knows no price of other models: that is null, not 0", () => {
    for (const name of ["simulator:test", "openai:my-finetune-7", "google:gemma-4-31b-it"]) {
      expect(costUsd({}, model(name), use(1000, 1000)), name).toBeNull();
      expect(isPriced({}, model(name)), name).toBe(false);
    }
  });

  test("an answer that does not say what it used has no known cost", () => {
    expect(costUsd({}, model("openai:gpt-4o"), readTokenUse(undefined))).toBeNull();
  });

  test("what is counted in the total alone is charged as output", () => {
    const prices = { "xai:*": { inputPerMillion: 1, outputPerMillion: 10 } };
    expect(costUsd(prices, model("xai:grok-4"), use(100, 50, { total: 250 }))).toBeCloseTo(0.0016, 9);
  });
});

describe("GLUELLM_PRICES", () => {
  test("beats the price list; the exact name wins, then the longest pattern; JSON or a file", () => {
    const prices = {
      "openai:*": { inputPerMillion: 1, outputPerMillion: 2 },
      "openai:gpt-4*": { inputPerMillion: 3, outputPerMillion: 4, cachedInputPerMillion: 0.5 },
      "openai:gpt-4o": { inputPerMillion: 5, outputPerMillion: 0 },
    };
    writeFileSync(join(cwd, "prices.json"), JSON.stringify(prices));
    const fromFile = loadSettings({ cwd, env: { GLUELLM_PRICES: "prices.json" } });
    for (const settings of [load(prices), fromFile]) {
      const cost = (name: string, more = {}) => costUsd(settings.prices, model(name), use(1e6, 1e6, more));
      expect(cost("openai:o9")).toBe(3);
      expect(cost("openai:gpt-4.1")).toBe(7);
      expect(cost("openai:gpt-4.1", { cached: 4e5 })).toBeCloseTo(0.6 * 3 + 0.4 * 0.5 + 4, 9);
      expect(cost("openai:gpt-4o", { cached: 4e5 })).toBe(5);
    }
  });

  test.each([
    [{ "openai:a": { inputPerMillion: 1 } }, "openai:a.outputPerMillion: must be a number of USD"],
    [
      { "openai:a": { inputPerMillion: -1, outputPerMillion: 1 } },
      "inputPerMillion: must not be less than 0",
    ],
    [{ "openai:a": { inputPerMillion: "1", outputPerMillion: 1 } }, "must be a number of USD"],
    [{ "openai:a": { inputPerMillion: 1, outputPerMillion: 1, outputPerMilion: 1 } }, "outputPerMilion"],
    [{ "gpt-4o": { inputPerMillion: 1, outputPerMillion: 1 } }, "GLUELLM_PRICES at gpt-4o: fits no model"],
  ])("%j is refused by name", (prices, message) => {
    expect(() => load(prices)).toThrow(message);
  });

  test("a file that cannot be read is named", () => {
    expect(() => loadSettings({ cwd, env: { GLUELLM_PRICES: "none.json" } })).toThrow(
      /GLUELLM_PRICES: .*readable file.*none\.json.*ENOENT/,
    );
  });
});

test("usage is read with its cached tokens; what is absent or odd counts as 0", () => {
  expect(
    readTokenUse({
      prompt_tokens: 9,
      completion_tokens: 4,
      prompt_tokens_details: { cached_tokens: 5, cache_write_tokens: 2 },
    }),
  ).toEqual({ prompt: 9, completion: 4, total: 13, cached: 5, cacheWritten: 2 });
  for (const odd of [null, undefined, {}, { prompt_tokens: -1, prompt_tokens_details: null }, "text"]) {
    expect(readTokenUse(odd)).toEqual({ prompt: 0, completion: 0, total: 0, cached: 0 });
  }
});

test.each([
  [0, "$0.00"],
  [1234.5, "$1,234.50"],
  [0.12, "$0.12"],
  [0.0034, "$0.0034"],
  [0.00001234, "$0.000012"],
])("%d reads %s", (amount, text) => {
  expect(usd(amount)).toBe(text);
});
