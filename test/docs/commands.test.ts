import { describe, expect, test } from "vitest";
import { docBlocks, docPages, readPage } from "../../tools/doc-blocks.ts";
import { commandFaults, isSetting } from "../support/told-commands.ts";

/* What the documents tell a reader to type exists: commands, their options, settings. */

const BLOCKS = docBlocks();

/** The commands that a page tells: in code blocks, and in `gluellm …` of its sentences. */
function commandsOf(page: string): string[] {
  const blocks = BLOCKS.filter((block) => block.page === page && /^(sh|bash|text|)$/.test(block.language));
  const lines = blocks.flatMap(({ code }) => code.replaceAll(/\\\n\s*/g, " ").split("\n"));
  const typed = lines.map(
    (line) => /^(?:\$ |.*(?:&& |\| |-- |=\S* )|)(?:npx )?gluellm (.+)$/.exec(line.trim())?.[1],
  );
  const prose = readPage(page).replaceAll(/^( *)```[\s\S]*?^\1```$/gm, "");
  const told = [...prose.matchAll(/`(?:[A-Z_]+=\S+ )*(?:npx )?gluellm ([^`]+)`/g)].map(([, words]) => words);
  return [...typed, ...told].filter((words) => words !== undefined);
}

describe.each(docPages().filter((page) => page !== "CHANGELOG.md"))("%s", (page) => {
  test("its commands and their options exist", async () => {
    expect(await commandFaults(commandsOf(page))).toEqual([]);
  });

  test("its settings exist", () => {
    const names = [...readPage(page).matchAll(/\bGLUELLM_([A-Z][A-Z0-9_]*[A-Z0-9])\b(?!_?[…*])/g)].map(
      ([, name = ""]) => name,
    );
    expect(names.filter((name) => !isSetting(name))).toEqual([]);
  });
});

test("blocks of JSON are JSON", () => {
  const faults = BLOCKS.flatMap(({ page, line, language, code }) => {
    if (language !== "json") return [];
    try {
      JSON.parse(code);
      return [];
    } catch (error) {
      return [`${page}:${line}: ${(error as Error).message}`];
    }
  });
  expect(faults).toEqual([]);
});
