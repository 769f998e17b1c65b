import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { docPages } from "../../tools/doc-blocks.ts";
import { LLMS_TXT, llmsTxt } from "../../tools/llms-txt.ts";

test("llms.txt is as README's map and the pages have it (node tools/llms-txt.ts)", () => {
  expect(readFileSync(LLMS_TXT, "utf8")).toBe(llmsTxt());
});

test("README's map names every page of docs/ but those for contributors", () => {
  const text = llmsTxt();
  const pages = docPages().filter((page) => page.startsWith("docs/"));
  expect(pages.filter((page) => page.startsWith("docs/internal/") === text.includes(`](${page})`))).toEqual(
    [],
  );
});
