import { describe, expect, test } from "vitest";
import { z } from "zod";
import { chooseModel } from "../../src/calls/model-choice.ts";
import { closestNames, didYouMean, hintOf } from "../../src/shared/did-you-mean.ts";
import type { InputError } from "../../src/shared/errors.ts";
import { parseModel } from "../../src/shared/model-name.ts";
import { checkWith } from "../../src/shared/schema-check.ts";
import { loadSettings } from "../../src/shared/settings.ts";

test.each([
  ["pipline", ["pipeline", "debate"], ["pipeline"]],
  ["PIPELINE", ["pipeline"], ["pipeline"]],
  ["reumse", ["remove", "repair", "resume"], ["resume"]],
  ["modle", ["mode", "model", "tools"], ["mode", "model"]],
  ["swapepd", ["swapped"], ["swapped"]],
  ["a", ["b", "c", "d", "e"], ["b", "c", "d"]],
  ["zzzzzz", ["pipeline", "rag"], []],
  ["", ["pipeline"], []],
  ["x".repeat(1e6), ["pipeline"], []],
  ["one", [], []],
])("%s of %j", (typed, known, closest) => {
  expect(closestNames(typed, known)).toEqual(closest);
});

test("parts of a hint become one text", () => {
  expect(hintOf(didYouMean("debat", ["debate"]), "known: debate", "and more")).toBe(
    "did you mean debate? known: debate; and more",
  );
  expect(hintOf(undefined, "known: none")).toBe("known: none");
});

describe("models", () => {
  const settings = loadSettings({
    env: {
      GLUELLM_LIMITS: '{"openai:my-own-model": {"rpm": 5}}',
      GLUELLM_PROVIDERS: '{"mine": {"baseUrl": "http://127.0.0.1:1/v1", "models": ["llama-tuned", "x-*"]}}',
    },
    cwd: import.meta.dirname,
  });
  const hintFor = (name: string) => {
    try {
      chooseModel(name, { settings, defaultModel: "openai:gpt-4o-mini", keyNeeded: false });
    } catch (error) {
      return String((error as InputError).hint);
    }
    return "known";
  };

  test.each([
    ["openai:gpt4o-mini", "did you mean openai:gpt-4o-mini?"],
    ["gpt-4o-mni", "did you mean openai:gpt-4o-mini?"],
    ["OpenAI:gpt-4o", "did you mean openai:gpt-4o?"],
    ["claude-sonnet-4-5", "did you mean anthropic:claude-sonnet-4-5?"],
    ["openai:my-own-modle", "did you mean openai:my-own-model?"],
    ["mine:lama-tuned", "did you mean mine:llama-tuned?"],
    ["openai:zzzzzzzz", "check the spelling, or allow it with GLUELLM_ALLOWED_MODELS=openai:zzzzzzzz"],
    ["opneai:gpt-4o", "did you mean openai? known providers: openai, "],
  ])("%s", (name, hint) => {
    expect(hintFor(name)).toContain(hint);
  });

  test("a provider that is like none is told which there are", () => {
    expect(() => parseModel("nothing-like-it:x", ["openai", "xai"])).toThrow(
      'unknown provider "nothing-like-it"',
    );
  });
});

describe("unknown keys", () => {
  const schema = z.strictObject({
    model: z.string(),
    list: z.array(z.strictObject({ weight: z.number() })).optional(),
    byName: z.record(z.string(), z.strictObject({ rpm: z.number().optional() })).optional(),
    either: z.union([z.boolean(), z.strictObject({ ttlSeconds: z.number() })]).optional(),
    later: z
      .lazy(() => z.strictObject({ deep: z.string() }))
      .default({ deep: "" })
      .transform((value) => value),
  });
  const hintFor = (value: unknown) => {
    try {
      checkWith(schema, value, "the thing");
    } catch (error) {
      return `${(error as InputError).message} → ${(error as InputError).hint}`;
    }
    return "right";
  };

  test.each([
    [
      { modle: "x" },
      'the thing is wrong: Unrecognized key: "modle" → did you mean model? known: byName, either, later, list, model',
    ],
    [
      { model: "x", list: [{ wieght: 1 }] },
      'at list.0: Unrecognized key: "wieght" → did you mean weight? known: weight',
    ],
    [
      { model: "x", byName: { a: { rmp: 1 } } },
      'at byName.a: Unrecognized key: "rmp" → did you mean rpm? known: rpm',
    ],
    [{ model: "x", either: { ttl: 1 } }, 'at either: Unrecognized key: "ttl" → known: ttlSeconds'],
    [{ model: "x", later: { deap: "y" } }, "did you mean deep? known: deep"],
    [{ model: "x", constructor: 1 }, '"constructor" → known: byName, '],
  ])("%j", (value, text) => {
    expect(hintFor(value)).toContain(text);
  });

  test("another fault has no such hint", () => {
    expect(hintFor({ model: 5 })).toMatch(/the thing is wrong at model: .* → undefined/);
  });

  test("in settings", () => {
    const env = { GLUELLM_LIMITS: '{"openai:gpt-4o": {"rmp": 5}, "opneai:x": {"rpm": 5}}' };
    expect(() => loadSettings({ env, cwd: import.meta.dirname })).toThrow(
      'GLUELLM_LIMITS at openai:gpt-4o: Unrecognized key: "rmp" (did you mean rpm? known: bucket, ',
    );
    expect(() =>
      loadSettings({ env: { GLUELLM_LIMITS: '{"opneai:x": {"rpm": 5}}' }, cwd: import.meta.dirname }),
    ).toThrow("GLUELLM_LIMITS at opneai:x: fits no model; did you mean openai? write provider:model");
    expect(() =>
      loadSettings({ env: { GLUELLM_PROVIDERS: '{"mine": {"baseURL": "x"}}' }, cwd: import.meta.dirname }),
    ).toThrow("did you mean baseUrl? known: api, baseUrl, ");
  });
});
