/** Agents: prepared ways to answer, and executors that ask them. In your project: `from "gluellm"`. */
import { z } from "zod";
import {
  Agent,
  AgentExecutor,
  defineTool,
  type Executor,
  GenericAgent,
  GlueLLM,
  SimpleExecutor,
  SystemPrompt,
} from "../src/index.ts";

const openingHours = defineTool({
  name: "opening_hours",
  description: "When a library is open.",
  parameters: z.object({ day: z.enum(["weekday", "saturday", "sunday"]) }),
  execute: ({ day }) => ({ weekday: "9 to 18", saturday: "10 to 14", sunday: "closed" })[day],
});

const librarian = new Agent({
  name: "librarian",
  description: "Knows the library and its books.",
  // The tools are named in the prompt, in a part of their own.
  systemPrompt: new SystemPrompt({ instructions: "Help people find a book. Look up the hours when asked." }),
  tools: [openingHours],
  maxToolIterations: 3,
});
const critic = new Agent({
  name: "critic",
  description: "Judges recommendations.",
  systemPrompt: "Judge the recommendation in one sentence.",
});

await using glue = new GlueLLM();

// Through the client each message stands alone; through a conversation the agent knows what was said before.
const conversation = glue.conversation();
const desk = new AgentExecutor(conversation, librarian);
await desk.execute("A book on lighthouses, please.");
await desk.execute("Can I have it on Sunday?");
console.log(`${desk.agent.name}: ${(await conversation.messages()).length} messages`);

// An executor is whatever answers messages: one can be made of others.
const reviewed: Executor = {
  async execute(message) {
    const { finalResponse } = await new AgentExecutor(glue, librarian).execute(message);
    return new AgentExecutor(glue, critic).execute(`Recommended: ${finalResponse}`);
  },
};
const brief = new SimpleExecutor(glue, { system: "You are brief.", maxTokens: 60 });
const anybody = new AgentExecutor(glue, new GenericAgent({ tools: [openingHours] }));
for (const [name, executor] of Object.entries({ reviewed, brief, anybody })) {
  const { finishReason, toolCallsMade } = await executor.execute("A book on bees?");
  console.log(`${name}: ${finishReason}, ${toolCallsMade} calls of tools`);
}
