import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { docPages, readPage } from "../../tools/doc-blocks.ts";

const ROOT = join(import.meta.dirname, "../..");
const { files } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { files: string[] };

/** They are of no use without the sources. */
const OF_THE_CHECKOUT = /^(test\/|docker-compose\.yml$|Procfile$)/;

function withoutCode(text: string): string {
  return text.replace(/^( *)```[\s\S]*?^\1```$/gm, "").replace(/`[^`\n]*`/g, "");
}

/** The anchors of a page's headings, made as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  const text = readPage(page).replace(/^( *)```[\s\S]*?^\1```$/gm, "");
  for (const [, heading = ""] of text.matchAll(/^#+ (.+)$/gm)) {
    const shown = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = shown.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
    for (let n = 0, name = anchor; ; name = `${anchor}-${++n}`) {
      if (anchors.has(name)) continue;
      anchors.add(name);
      break;
    }
  }
  return anchors;
}

/** What is wrong with a link of a page; undefined when it leads somewhere. */
function faultOf(page: string, target: string): string | undefined {
  if (/^[a-z]+:/.test(target)) return;
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? page : normalize(join(dirname(page), decodeURIComponent(path)));
  if (!existsSync(join(ROOT, file))) return `${page}: ${target}: there is no ${file}`;
  if (anchor && file.endsWith(".md") && !anchorsOf(file).has(anchor))
    return `${page}: ${target}: ${file} has no heading for it`;
}

/** The targets of a page's links and pictures. */
function targetsOf(page: string): string[] {
  return [...withoutCode(readPage(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = ""]) => to);
}

test.each(docPages())("every link and picture of %s leads somewhere", (page) => {
  const faults = targetsOf(page).map((target) => faultOf(page, target));
  expect(faults.filter(Boolean)).toEqual([]);
});

test("what docs/ links to is in the published package too", () => {
  const isPacked = (path: string) => files.some((file) => path === file || path.startsWith(`${file}/`));
  const paths = docPages()
    .filter((page) => /^docs\/(?!internal\/)/.test(page))
    .flatMap((page) => targetsOf(page).map((target) => join("docs", target.split("#")[0] ?? "")))
    .filter((path) => !/^docs\/[a-z]+:/.test(path) && path !== "docs/");
  expect(paths.filter((path) => !OF_THE_CHECKOUT.test(path) && !isPacked(path))).toEqual([]);
});
