import { createRequire } from "node:module";

/** Returns undici, which is loaded by the first pool of connections: a process that calls no provider starts sooner. */
export function loadUndici(): typeof import("undici") {
  try {
    // A bundler puts the package here; an ES module has no `require`.
    return require("undici");
  } catch {
    return createRequire(import.meta.url)("undici");
  }
}
