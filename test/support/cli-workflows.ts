import { z } from "zod";
import { Agent, defineWorkflow } from "../../src/index.ts";
import { say } from "./any-workflow.ts";

const facts = defineWorkflow({
  name: "facts",
  input: z.object({ topic: z.string() }),
  output: z.array(z.string()),
  run: (ctx, { topic }) => Promise.all([1, 2].map((n) => say(ctx, "fact", `${topic} ${n}`))),
});

export const article = defineWorkflow({
  name: "article",
  input: z.object({
    topic: z.string().describe("what it is about"),
    tone: z.enum(["plain", "grand"]).default("plain"),
  }),
  output: z.object({ text: z.string() }),
  run: async (ctx, { topic, tone }) => {
    const { left, right } = await ctx.branches({
      left: (branch) => say(branch, "draft", `${tone} ${topic}`),
      right: (branch) => branch.child("facts", facts, { topic }),
    });
    const approved = await ctx.waitFor("approval", { schema: z.object({ by: z.string() }) });
    return { text: [left, ...right, approved.by].join(", ") };
  },
});

export const wrong = defineWorkflow({
  name: "wrong",
  input: z.object({ input: z.string() }),
  output: z.string(),
  run: (ctx, { input }) => say(ctx, "ask", `${input}\n#sim {"error": "400"}`),
});

export const workflows = [facts];

export const writer = new Agent({
  name: "writer",
  description: "Writes.",
  systemPrompt: "You write.",
  model: "simulator:writer",
});
