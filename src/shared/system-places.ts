import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import type { Variables } from "./env-file.ts";
import { ConfigurationError } from "./errors.ts";

/* What settings depend on of the machine: its folders and its way outside. */

/** The folder of the XDG specification, which says that a relative path is to be ignored. */
export function cacheHome({ XDG_CACHE_HOME = "", HOME = "" }: Variables, dataDir: string): string {
  if (isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME;
  if (isAbsolute(HOME)) return join(HOME, ".cache");
  try {
    return join(userInfo().homedir, ".cache");
  } catch {
    // A container's user id without a name has no home.
    return dataDir;
  }
}

/** @throws ConfigurationError when it no longer exists */
export function currentFolder(): string {
  try {
    return process.cwd();
  } catch {
    throw new ConfigurationError("the current folder no longer exists", "change to another one: cd ~");
  }
}

/** What a download may need to reach the outside, in either spelling. */
export function proxyVariables(variables: Variables): Record<string, string> {
  const pairs = Object.entries(variables).filter(([name]) => /^(https?|all|no)_proxy$/i.test(name));
  return Object.fromEntries(pairs.map(([name, value]) => [name, value ?? ""]));
}

/** The folder of the nearest package.json upwards, else the folder itself. */
export function projectFolder(start: string): string {
  for (let folder = resolve(start); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json"))) return folder;
    if (dirname(folder) === folder) return resolve(start);
  }
}
