import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DOCS, withErrorDocs } from "../../tools/error-docs.ts";

test("ARCHITECTURE.md has the error policy as the code has it (node tools/error-docs.ts)", () => {
  const text = readFileSync(DOCS, "utf8");
  expect(text).toBe(withErrorDocs(text));
});
