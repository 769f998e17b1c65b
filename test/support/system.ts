import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Settings } from "../../src/shared/settings.ts";

/** The machine as the product sees it: a downloaded Redis is shared with it. */
export function testSystem(changes: Partial<Settings["system"]> = {}): Settings["system"] {
  const proxies = Object.entries(process.env).filter(([name]) => /^(https?|ftp|no|all)_proxy$/i.test(name));
  return {
    cacheDir: join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "gluellm"),
    runtimeDir: process.env.XDG_RUNTIME_DIR ?? tmpdir(),
    searchPath: process.env.PATH ?? "",
    terminal: "dumb",
    proxyVariables: Object.fromEntries(proxies) as Record<string, string>,
    ...changes,
  };
}
