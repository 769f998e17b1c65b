import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { InputError } from "../shared/errors.ts";

/**
 * Returns whether the file was written, with the folders above it; one that is there, a link to nowhere too, is left alone.
 * @throws InputError for what cannot be written
 */
export function writeNew(path: string, content: string): boolean {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content, { flag: "wx" });
    return true;
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    // A file in the place of a folder says EEXIST too.
    if (code === "EEXIST" && syscall === "open") return false;
    throw new InputError(`${path} cannot be written: ${code}`, "choose a folder that you may write to");
  }
}
