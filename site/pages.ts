import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, extname, join, normalize, relative } from "node:path";

/*
 * Makes the pages of the site in `site/pages` from the documents of the project: README.md is the first page, docs/ keeps
 * its names, and each other file that a document links to becomes a page with its text. docs/internal is for contributors
 * and is no part of the site.
 */

const ROOT = join(import.meta.dirname, "..");
export const PAGES = join(import.meta.dirname, "pages");
const LINK = /(\]\()([^)\s]+)(\))/g;
const LANGUAGES: Record<string, string> = {
  ".ts": "ts",
  ".yml": "yaml",
  ".yaml": "yaml",
  ".json": "json",
  ".sh": "sh",
};

/** Writes all pages but the API reference. */
export function writePages(): void {
  rmSync(PAGES, { recursive: true, force: true });
  const isShown = (path: string) => relative(join(ROOT, "docs"), path) !== "internal";
  cpSync(join(ROOT, "docs"), PAGES, { recursive: true, filter: isShown });
  const documents = [
    ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
    ...readdirSync(join(ROOT, "docs"))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `docs/${name}`),
  ];
  const files = new Set<string>();
  for (const document of documents) writePage(document, files);
  for (const file of files) writeFilePage(file);
}

function writePage(document: string, files: Set<string>): void {
  const place = placeOf(document);
  const text = readFileSync(join(ROOT, document), "utf8").replaceAll(LINK, (whole, open, target, close) => {
    if (/^([a-z]+:|#)/.test(target)) return whole;
    const [path = "", anchor] = target.split("#");
    const file = normalize(join(dirname(document), decodeURIComponent(path)));
    const to = linkTo(file, files);
    const from = dirname(place);
    const shown = relative(from === "." ? "" : from, to) || to;
    return `${open}${shown.startsWith(".") ? shown : `./${shown}`}${anchor ? `#${anchor}` : ""}${close}`;
  });
  write(place, outsideCode(text));
}

/** Where a document or picture of the project is among the pages. */
function placeOf(file: string): string {
  if (file === "README.md") return "index.md";
  // Beside docs/agents.md two pages would differ in case alone.
  if (file === "AGENTS.md") return "assistants.md";
  return file.startsWith("docs/") ? file.slice("docs/".length) : file;
}

function linkTo(file: string, files: Set<string>): string {
  const isPage = /\.md$|^docs\/.*\.(svg|png)$/.test(file);
  if (isPage && !file.startsWith("docs/internal/")) return placeOf(file);
  const isFolder = existsSync(join(ROOT, file)) && statSync(join(ROOT, file)).isDirectory();
  files.add(file);
  return isFolder ? join("files", file, "index.md") : filePage(file);
}

/** VitePress passes over hidden files, and takes one ending of a link away. */
function filePage(file: string): string {
  return join("files", `${file.replace(/^\./, "").replace(/\.md$/, "")}.md`);
}

/** A page with the text of a file, or with the list of a folder. */
function writeFilePage(file: string): void {
  const path = join(ROOT, file);
  if (!statSync(path).isDirectory()) {
    writeCode(file);
    return;
  }
  const names = readdirSync(path).filter((name) => statSync(join(path, name)).isFile());
  for (const name of names) writeCode(join(file, name));
  const list = names.map((name) => `- [${name}](./${name}.md)`).join("\n");
  write(join("files", file, "index.md"), `# ${file}\n\n${list}\n`);
}

function writeCode(file: string): void {
  const code = readFileSync(join(ROOT, file), "utf8");
  const language = LANGUAGES[extname(file)] ?? "txt";
  write(filePage(file), `# ${file}\n\n\`\`\`\`${language}\n${code.trimEnd()}\n\`\`\`\`\n`);
}

function write(place: string, text: string): void {
  const path = join(PAGES, place);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Braces in sentences are text, not Vue's; angle brackets that are no HTML too. */
function outsideCode(text: string): string {
  return text
    .split(/(^ *```[\s\S]*?^ *```$)/m)
    .map((part, n) => (n % 2 === 1 ? part : part.replaceAll("{{", "&#123;&#123;")))
    .join("");
}

export interface SidebarGroup {
  text: string;
  items: { text: string; link: string }[];
}

/** The groups of README's map of the documents. */
export function sidebar(): SidebarGroup[] {
  const [, map = ""] = readFileSync(join(ROOT, "README.md"), "utf8").split("## The docs\n");
  return map
    .split(/\n\n(?=\|)/)
    .filter((table) => table.trim().startsWith("|"))
    .map((table) => {
      const [heading = "", , ...rows] = table.trim().split("\n");
      const links = rows.flatMap((row) => [
        ...(row.split("|")[1] ?? "").matchAll(/\[([^\]]+)\]\(([^)]+)\)/g),
      ]);
      const items = links.map(([, text = "", target = ""]) => ({ text, link: pageLink(target) }));
      return { text: heading.replaceAll("|", "").trim(), items };
    });
}

function pageLink(target: string): string {
  const place = target.endsWith("/") ? `files/${target}` : placeOf(target).replace(/\.md$/, "");
  return `/${place}`;
}
