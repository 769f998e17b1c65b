import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DOCS, withPatternDocs } from "../../tools/pattern-docs.ts";

test("docs/patterns.md has the patterns and their options as the code has them (node tools/pattern-docs.ts)", () => {
  const text = readFileSync(DOCS, "utf8");
  expect(text).toBe(withPatternDocs(text));
});
