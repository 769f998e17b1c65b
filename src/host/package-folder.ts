import { existsSync } from "node:fs";
import { join } from "node:path";

/** Returns the folder of this package, a checkout's or an installed one's. */
export function packageFolder(): string {
  // dist/src/host and src/host lie at different depths below package.json.
  const folders = ["../..", "../../.."].map((up) => join(import.meta.dirname, up));
  return (
    folders.find((folder) => existsSync(join(folder, "package.json"))) ?? join(import.meta.dirname, "../..")
  );
}
