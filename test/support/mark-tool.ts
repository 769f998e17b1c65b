import { randomUUID } from "node:crypto";
import { z } from "zod";
import { defineTool } from "../../src/index.ts";

/** Tells its runs apart: who goes on from a second run of it asks something else than from the first. */
export const mark = defineTool({
  name: "mark",
  description: "Gives a new id.",
  parameters: z.object({ n: z.int() }),
  execute: () => randomUUID(),
});
