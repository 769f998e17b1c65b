import { z } from "zod";
import { defineTool, defineWorkflow, getLogger, logOperation } from "../../src/index.ts";

export const canaryTool = defineTool({
  name: "canary",
  description: "Fails, and says so in the log.",
  parameters: z.object({ text: z.string() }),
  execute: async ({ text }) => {
    getLogger("tools").info({ arguments: { text } }, "a tool's own line");
    throw new Error(`CANARY-TOOL ${text}`);
  },
});

export const canaryRun = defineWorkflow({
  name: "canary-run",
  input: z.string(),
  output: z.string(),
  run: async (ctx, text) => {
    await ctx.run("log", () => logOperation("look", {}, async () => {}));
    throw new Error(`CANARY-RUN ${text}`);
  },
});

export const crashingTool = defineTool({
  name: "crash",
  description: "Ends its process by an error that nobody catches.",
  parameters: z.object({}),
  execute: async () => {
    setTimeout(() => {
      throw new RangeError("CANARY-CRASH");
    });
    return new Promise<string>(() => {});
  },
});
