import { createRequire } from "node:module";

/** Returns what draws text in place on standard error. Its package is loaded here: most commands draw nothing. */
export function createLiveText() {
  const { createLogUpdate } = createRequire(import.meta.url)("log-update") as typeof import("log-update");
  return createLogUpdate(process.stderr);
}
