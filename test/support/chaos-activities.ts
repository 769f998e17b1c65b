import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { defineActivity, defineWorkflow } from "../../src/index.ts";

/** How many runs of a key go on at a time. */
export const LIMIT = 2;

/** Works in parts, with heartbeats; each third one fails once. */
export const portion = defineActivity({
  name: "portion",
  input: z.object({ id: z.string(), n: z.number() }),
  output: z.string(),
  retry: { maxAttempts: 5, minWaitMs: 20, maxWaitMs: 50 },
  heartbeatMs: 2000,
  run: async ({ id, n }, { details, heartbeat, signal, attempt }) => {
    for (let part = typeof details === "number" ? details : 0; part < 4; part++) {
      await heartbeat(part);
      await delay(30 + 10 * n, undefined, { signal });
      if (n % 3 === 0 && attempt === 1 && part === 1) throw new Error("once");
    }
    return `${id}:${n}`;
  },
});

/** Activities side by side, a sleep and a signal, so many runs of a key at a time. */
export const portions = defineWorkflow({
  name: "portions",
  input: z.object({ id: z.string(), of: z.string() }),
  output: z.array(z.string()),
  concurrency: { limit: LIMIT, key: "of" },
  run: async (ctx, { id }) => {
    const first = await Promise.all([1, 2, 3].map((n) => ctx.activity(portion, { id, n })));
    await ctx.sleep(30);
    const go = ctx.waitFor<string>("go");
    return [...first, await ctx.activity(portion, { id, n: 4 }), await go];
  },
});

/** Begun after quiet with the last input of who started it. */
export const last = defineWorkflow({
  name: "last",
  input: z.object({ of: z.string(), n: z.number() }),
  output: z.string(),
  debounce: { periodMs: 300, key: "of" },
  run: (ctx, { n }) => ctx.activity(portion, { id: "last", n }),
});
