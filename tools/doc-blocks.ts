import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/*
 * The code blocks of the documents. `node tools/doc-blocks.ts` writes each TypeScript block into a file of its own under
 * test/docs/blocks, which Git ignores, so that the type check of the whole project checks the documents too. What the
 * blocks may use without declaring it is in test/docs/doc-globals.d.ts.
 */

const ROOT = join(import.meta.dirname, "..");
const BLOCKS_FOLDER = join(ROOT, "test/docs/blocks");

export interface DocBlock {
  /** The document's path from the root of the project. */
  page: string;
  /** The line of the opening fence, from 1 on. */
  line: number;
  language: string;
  code: string;
}

/** Returns the paths of all documents for readers, from the root of the project. */
export function docPages(): string[] {
  const docs = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" });
  const inRoot = readdirSync(ROOT).filter((name) => name.endsWith(".md"));
  return [...inRoot, ...docs.filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)].sort();
}

export function readPage(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

/** Returns the fenced code blocks of all documents. */
export function docBlocks(): DocBlock[] {
  return docPages().flatMap((page) => {
    const text = readPage(page);
    return [...text.matchAll(/^( *)```(\w*)\n([\s\S]*?)^\1```$/gm)].map((match) => {
      const [, indent = "", language = "", code = ""] = match;
      const line = text.slice(0, match.index).split("\n").length;
      return { page, line, language, code: code.replaceAll(new RegExp(`^${indent}`, "gm"), "") };
    });
  });
}

/** A block as a module of the folder: it imports the code of this checkout, and names of the package that it uses without an import too. */
function asModule(code: string, exported: readonly string[]): string {
  const words = new Set(code.match(/\b[\w$]+\b/g));
  const declares = (name: string) =>
    new RegExp(`import [^;]*\\b${name}\\b[^;]* from|(const|function|class|async function) ${name}\\b`).test(
      code,
    );
  const missing = exported.filter((name) => words.has(name) && !declares(name));
  const imports = missing.length > 0 ? `import { ${missing.join(", ")} } from "gluellm";\n` : "";
  return `${imports}${code}\nexport {};\n`
    .replaceAll('from "gluellm"', 'from "../../../src/index.ts"')
    .replaceAll('from "gluellm/testing"', 'from "../../../src/testing/index.ts"');
}

/** Returns the names of the values and classes that `src/index.ts` exports. */
function exportedValues(): string[] {
  const index = readPage("src/index.ts");
  return [...index.matchAll(/^export \{([^}]*)\}/gm)].flatMap(([, names = ""]) =>
    names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "" && !name.startsWith("type ")),
  );
}

/** Writes the files; returns the path of each, with its block. */
export function writeDocBlocks(): { path: string; block: DocBlock }[] {
  rmSync(BLOCKS_FOLDER, { recursive: true, force: true });
  mkdirSync(BLOCKS_FOLDER, { recursive: true });
  const exported = exportedValues();
  return docBlocks()
    .filter(({ language }) => language === "ts")
    .map((block) => {
      const page = block.page.replaceAll("/", "-").replace(/\.md$/, "");
      const path = join(BLOCKS_FOLDER, `${page}-line-${block.line}.ts`);
      writeFileSync(path, asModule(block.code, exported));
      return { path, block };
    });
}

if (import.meta.main) writeDocBlocks();
