import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Returns the version of this package. */
export function readVersion(): string {
  // dist/src/host and src/host lie at different depths below package.json.
  for (const up of ["../..", "../../.."]) {
    try {
      return (
        JSON.parse(readFileSync(join(import.meta.dirname, up, "package.json"), "utf8")) as { version: string }
      ).version;
    } catch {
      // Not here.
    }
  }
  return "unknown";
}
