import { expect, test } from "vitest";
import * as api from "../../src/index.ts";
import { parseModel } from "../../src/shared/model-name.ts";
import { unknownVariables } from "../../src/shared/unknown-variables.ts";
import { readPage } from "../../tools/doc-blocks.ts";

const PAGE = readPage("docs/migration.md");

/** What a client of these options, or what is done with it, throws: its text with its hint. */
function refusal(options: object, act = (_glue: api.GlueLLM) => {}): string {
  try {
    act(new api.GlueLLM(options));
  } catch (error) {
    return `${(error as Error).message} → ${(error as api.GlueError).hint}`;
  }
  return "";
}

test("the page's table of imports names what the package exports", () => {
  const source = readPage("src/index.ts");
  const [, table = ""] = /<!-- exports -->\n([\s\S]*?)<!-- \/exports -->/.exec(PAGE) ?? [];
  const names = table
    .split("\n")
    .slice(2)
    .flatMap((row) => [...(row.split(" | ")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, name = ""]) => name));
  expect(names.length).toBeGreaterThan(70);
  // Types are in the source alone.
  const isExported = (name: string) =>
    name in api ||
    new RegExp(`\\btype (\\w+ as )?${name}\\b|^export type \\{[^}]*\\b${name}\\b`, "m").test(source);
  expect(names.filter((name) => !isExported(name))).toEqual([]);
});

test("names of before are the same things", () => {
  expect(api.cacheLlmResponse).toBe(api.cacheFunctionResult);
  expect(api.config === api.settings).toBe(true);
});

test("an option that has another name here is known by the old one", async () => {
  expect(refusal({ systemPrompt: "Be brief." })).toContain("did you mean system?");
  expect(refusal({ system_prompt: "Be brief." })).toContain("did you mean system?");
  const asked = new api.GlueLLM({ mode: "fleet" }).complete("hi", { responseFormat: {} } as object);
  await expect(asked).rejects.toMatchObject({ hint: expect.stringContaining("did you mean schema?") });
});

const SEEN: Record<string, () => string> = {
  'Unrecognized key: "systemPrompt"': () => refusal({ systemPrompt: "Be brief." }),
  "must be what defineTool returns": () => refusal({ tools: [() => "22 degrees"] }),
  "this client has no memory": () => refusal({}, (glue) => glue.resetConversation()),
  "is no setting and has no effect": () =>
    unknownVariables({ GLUELLM_LOG_CONSOLE_OUTPUT: "true" }, [], []).join(),
  'unknown provider "groq"': () => {
    try {
      parseModel("groq:llama", ["openai"]);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  },
};

test.each(Object.keys(SEEN))("the page tells of what is seen: %s", (symptom) => {
  expect(SEEN[symptom]?.()).toContain(symptom);
  expect(PAGE).toContain(`| \`${symptom}\` |`);
});
