import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const DOCS = join(import.meta.dirname, "../../docs");

export function readDocument(file: string): string {
  return readFileSync(join(DOCS, file), "utf8");
}

/** All sections of the Markdown files in docs/, each with the words of its file and heading. */
export function sectionsOfDocs(): { source: string; content: string }[] {
  const files = readdirSync(DOCS).filter((file) => file.endsWith(".md"));
  return files.flatMap((file) =>
    readDocument(file)
      .split(/^(?=#{1,3} )/m)
      .map((content) => ({ source: `${file}, ${content.split("\n", 1)[0]?.replace(/^#+ /, "")}`, content })),
  );
}
