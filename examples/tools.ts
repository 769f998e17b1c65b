/** Tools that workers run, and an agent that has them. In your project: `from "gluellm"`. */
import { z } from "zod";
import { Agent, AgentExecutor, defineTool, GlueLLM, SystemPrompt } from "../src/index.ts";

const STOCK: Record<string, number> = { apples: 12, pears: 0 };

const countStock = defineTool({
  name: "count_stock",
  description: "How many of an article are in stock.",
  parameters: z.object({ article: z.string().describe("in lower case, plural") }),
  execute: ({ article }) => {
    const count = STOCK[article];
    // What a tool throws is told to the model.
    if (count === undefined) throw new Error(`we do not sell ${article}`);
    return { article, count };
  },
});

await using glue = new GlueLLM({ tools: [countStock] });

// The simulator has no mind of its own: its `#sim` line says what it calls. A real model decides by itself.
const calls = ["apples", "plums"].map((article) => ({ name: "count_stock", arguments: { article } }));
const script = JSON.stringify({ turns: [{ toolCalls: calls }, { reply: "12 apples; we have no plums." }] });
const result = await glue.complete(`Do we have apples and plums?\n#sim ${script}`);
console.log(`answer: ${result.finalResponse}`);
for (const { toolName, arguments: args, result: output, error } of result.toolExecutionHistory) {
  console.log(`${toolName} ${JSON.stringify(args)} → ${output ?? `${error?.code}: ${error?.message}`}`);
}

// `executeTools: false` leaves the calls to you.
const left = await glue.complete(`Do we have pears?\n#sim ${JSON.stringify({ toolCalls: calls })}`, {
  executeTools: false,
});
console.log(`left to me: ${left.finishReason}, run by the worker: ${left.toolCallsMade}`);

const clerk = new Agent({
  name: "clerk",
  description: "Knows the stock.",
  systemPrompt: new SystemPrompt({ instructions: "Look up the stock before you answer." }),
  tools: [countStock],
});
const executor = new AgentExecutor(glue, clerk);
const { toolCallsMade } = await executor.execute(`And apples?\n#sim ${script}`);
console.log(`${executor.agent.name} made ${toolCallsMade} calls`);
