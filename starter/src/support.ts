import { Agent, defineTool, defineWorkflow } from "gluellm";
import { z } from "zod";

/** Stands for your own database. */
const ORDERS: Readonly<Record<string, string>> = { "1001": "shipped on Monday", "1002": "being packed" };

export const orderStatus = defineTool({
  name: "order_status",
  description: "Tells where an order is.",
  parameters: z.object({ orderId: z.string() }),
  execute: ({ orderId }) => ORDERS[orderId] ?? "unknown order",
});

export const supporter = new Agent({
  name: "supporter",
  description: "Answers customers.",
  systemPrompt: "You answer customers in two sentences. Look up an order before you speak about it.",
  tools: [orderStatus],
});

/** A draft by the agent, then a check of it. Each step is recorded: a run that is killed goes on after its last step. */
export const answerTicket = defineWorkflow({
  name: "answer-ticket",
  input: z.string(),
  output: z.object({ answer: z.string(), isPolite: z.boolean() }),
  run: async (ctx, ticket) => {
    const { finalResponse: answer } = await ctx.agent("draft", supporter, ticket);
    const { finalResponse: verdict } = await ctx.complete(
      "check",
      `Is this answer polite? Say yes or no.\n\n${answer}`,
    );
    return { answer, isPolite: /^yes/i.test(verdict) };
  },
});
