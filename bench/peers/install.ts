import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Installs the peers at the first use: the project itself does without them. */
export function installPeers(): void {
  const cwd = import.meta.dirname;
  if (existsSync(join(cwd, "node_modules"))) return;
  // None of them needs its install script, and one of them would report home.
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd, stdio: "inherit" });
}
