import type { GlueLLM } from "../../src/index.ts";

/* What the code blocks of the documents may use without declaring it: a client, zod, and functions of the reader's own. */
declare global {
  const glue: GlueLLM;
  const z: typeof import("zod").z;
}
