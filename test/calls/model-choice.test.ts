import { expect, test } from "vitest";
import { chooseModel } from "../../src/calls/model-choice.ts";
import { loadSettings } from "../../src/shared/settings.ts";

const providers = {
  ollama: { dialect: "openai", baseUrl: "http://127.0.0.1:11434/v1", keyOptional: true },
  claude: { dialect: "anthropic", baseUrl: "http://127.0.0.1:1", keyOptional: true },
};
const settings = loadSettings({ env: { GLUELLM_PROVIDERS: JSON.stringify(providers) }, cwd: "/" });

const choose = (name: string, defaultModel = "openai:gpt-4o-mini", vendor?: "anthropic" | "google") =>
  chooseModel(name, { settings, defaultModel, vendor, keyNeeded: false }).key;

test.each([
  ["ft:gpt-4o-mini-2024-07-18:org::id", undefined, "openai:ft:gpt-4o-mini-2024-07-18:org::id"],
  ["openai:ft:gpt-4o-mini-2024-07-18:org::id", undefined, "openai:ft:gpt-4o-mini-2024-07-18:org::id"],
  ["llama3.1:8b", "ollama:x", "ollama:llama3.1:8b"],
  ["qwen2.5-coder:1.5b-instruct-q4_0", "ollama:x", "ollama:qwen2.5-coder:1.5b-instruct-q4_0"],
  ["mistral:latest", "ollama:x", "ollama:mistral:latest"],
  ["openai:gpt-4o", "ollama:x", "openai:gpt-4o"],
])("%s with -m %s is %s", (name, defaultModel, key) => {
  expect(choose(name, defaultModel)).toBe(key);
});

test.each([
  ["opneai:gpt-4o", "ollama:x", "unknown_provider"],
  ["llama3.1:8b", undefined, "unknown_model"],
  ["ft:gpt-99:org::id", undefined, "unknown_model"],
])("%s with -m %s is refused", (name, defaultModel, code) => {
  expect(() => choose(name, defaultModel)).toThrow(expect.objectContaining({ code }));
});

test("a bare model of a vendor's line is the vendor's, or the entry's of its dialect", () => {
  expect(choose("claude-haiku-4-5", undefined, "anthropic")).toBe("anthropic:claude-haiku-4-5");
  expect(choose("x", "claude:y", "anthropic")).toBe("claude:x");
  expect(choose("openai:gpt-4o", undefined, "anthropic")).toBe("openai:gpt-4o");
  expect(choose("gemini-2.5-flash", undefined, "google")).toBe("google:gemini-2.5-flash");
  expect(choose("gemini-2.5-flash", "ollama:y", "google")).toBe("ollama:gemini-2.5-flash");
});
