import { z } from "zod";
import { defineActivity, defineWorkflow } from "../../src/index.ts";

/** Goes through parts, each with a heartbeat; its worker is killed at the third one, and the next one goes on from there. */
export const parts = defineActivity({
  name: "parts",
  input: z.object({ kills: z.boolean() }),
  output: z.object({ from: z.number(), attempt: z.number(), pid: z.number() }),
  heartbeatMs: 2000,
  run: async ({ kills }, { details, attempt, heartbeat }) => {
    const from = typeof details === "number" ? details : 0;
    for (let part = from; part < 5; part++) {
      await heartbeat(part);
      if (part === 3 && kills && attempt === 1) process.kill(process.pid, "SIGKILL");
    }
    return { from, attempt, pid: process.pid };
  },
});

export const inParts = defineWorkflow({
  name: "in-parts",
  input: z.object({ kills: z.boolean() }),
  output: z.any(),
  run: (ctx, input) => ctx.activity(parts, input),
});
