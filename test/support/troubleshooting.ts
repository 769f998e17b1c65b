import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A row of docs/troubleshooting.md. */
export interface TroubleRow {
  /** What somebody sees: the very words of the program. */
  symptom: string;
  cause: string;
  remedy: string;
  /** The file of the test that produces it. */
  test: string;
}

const ROOT = join(import.meta.dirname, "../..");
const ROW = /^\| `([^`]+)` \| ([^|]+) \| (.+) \| \[test\]\(\.\.\/([^)]+)\) \|$/gm;

export function troubleRows(): TroubleRow[] {
  const text = readFileSync(join(ROOT, "docs/troubleshooting.md"), "utf8");
  return [...text.matchAll(ROW)].map(([, symptom = "", cause = "", remedy = "", test = ""]) => ({
    ...{ symptom, cause, remedy, test },
  }));
}

/** The source of a test, with regular expressions' escapes left out. */
export function testSource(path: string): string {
  return readFileSync(join(ROOT, path), "utf8").replaceAll("\\", "");
}
