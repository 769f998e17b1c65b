import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** All bytes of the files below a folder, as latin1. */
export function bytesBelow(folder: string): string {
  if (!existsSync(folder)) return "";
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
  return paths
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
    .map((path) => readFileSync(path, "latin1"))
    .join("\n");
}

/** Where a word is in these bytes, with what is around it; else `nothing`. */
export function around(word: string, bytes: string): string {
  const at = bytes.indexOf(word);
  return at < 0 ? "nothing" : bytes.slice(Math.max(0, at - 200), at + 100);
}
