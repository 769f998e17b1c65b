import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readPage } from "./doc-blocks.ts";

/*
 * llms.txt (https://llmstxt.org): the map of the documents for language models, made of README's map and of how each page
 * begins. `node tools/llms-txt.ts` writes it anew.
 */

export const LLMS_TXT = join(import.meta.dirname, "../llms.txt");

/** Returns the text of llms.txt as it should be. */
export function llmsTxt(): string {
  const [intro = "", map = ""] = readPage("README.md").split("## The docs\n");
  const [, title = "", summary = ""] = /^# (.+)\n\n([\s\S]+?)\n\n/.exec(intro) ?? [];
  const sections = map.split(/\n\n(?=\|)/).filter((table) => table.trim().startsWith("|"));
  return [
    `# ${title}\n\n> ${summary.replaceAll("\n", " ")}\n`,
    "For code that uses the package begin with [AGENTS.md](AGENTS.md).\n",
    ...sections.map(sectionOf),
  ].join("\n");
}

function sectionOf(table: string): string {
  const [heading = ""] = table.trim().split("\n");
  const pages = [...table.matchAll(/\]\(([^)]+\.md)\)/g)].map(([, page = ""]) => page);
  return `## ${heading.replaceAll("|", "").trim()}\n\n${pages.map(lineOf).join("\n")}\n`;
}

/** A page by its heading and its first sentences. */
function lineOf(page: string): string {
  const [, title = "", begin = ""] = /^# (.+)\n\n([\s\S]*?)(\n\n|$)/.exec(readPage(page)) ?? [];
  const text = begin.startsWith("```") || begin.startsWith("#") ? "" : `: ${begin.replaceAll("\n", " ")}`;
  return `- [${title}](${page})${text.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")}`;
}

if (import.meta.main) writeFileSync(LLMS_TXT, llmsTxt());
