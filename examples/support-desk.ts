/** A support desk: handoff, a person's approval, an agent as a tool, guardrails in shadow. In your project: `from "gluellm"`. */
import { z } from "zod";
import {
  Agent,
  defineTool,
  GlueLLM,
  injectionGuardrail,
  lengthGuardrail,
  piiGuardrail,
} from "../src/index.ts";

const findOrder = defineTool({
  name: "find_order",
  description: "Finds an order by its number.",
  parameters: z.object({ order: z.string() }),
  execute: ({ order }) => ({ order, usd: 80, state: "lost in the post" }),
});
const refund = defineTool({
  name: "refund",
  description: "Pays money back to a customer.",
  parameters: z.object({ order: z.string(), usd: z.number() }),
  // Small sums need nobody.
  needsApproval: ({ usd }) => usd > 25,
  approvalTimeoutMs: 8 * 3_600_000,
  execute: ({ order, usd }) => `${usd} USD for ${order} are on their way`,
});

const writer = new Agent({
  name: "writer",
  description: "Writes letters to customers.",
  systemPrompt: "Write short and friendly letters.",
});
const billing = new Agent({
  name: "billing",
  description: "Knows orders and pays money back.",
  systemPrompt: "Look an order up before you pay anything back. Let the writer word the answer.",
  tools: [findOrder, refund, writer.asTool({ name: "ask_writer" })],
  // What tools bring is other people's.
  guardrails: [injectionGuardrail()],
});
const desk = new Agent({
  name: "desk",
  description: "Meets the customer.",
  systemPrompt: "Find out what the customer wants, and hand over to whoever knows.",
  guardrails: [piiGuardrail(), lengthGuardrail({ name: "short", maxChars: 40, mode: "shadow" })],
}).handoff(billing);

await using glue = new GlueLLM();

// The simulator has no mind of its own: its `#sim` line says what it calls. A real model decides by itself.
const call = (name: string, args: object = {}) => ({ name, arguments: args });
const script = JSON.stringify({
  turns: [
    { toolCalls: [call("handoff_to_billing", { reason: "a lost parcel" })] },
    { toolCalls: [call("find_order", { order: "A-7" })] },
    { toolCalls: [call("refund", { order: "A-7", usd: 80 })] },
    {
      toolCalls: [
        call("ask_writer", { input: 'Tell Ada.\n#sim {"reply":"Dear Ada, your money is on its way."}' }),
      ],
    },
    { reply: "Dear Ada, your money is on its way." },
  ],
});
const job = await glue.enqueue(`I am ada@example.org. Order A-7 never came!\n#sim ${script}`, {
  agent: desk,
});

// A person: by the console, `gluellm approvals`, the API, or here.
let asked = await job.approvals();
while (asked.length === 0) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  asked = await job.approvals();
}
for (const { callId, toolName, arguments: args } of asked) {
  console.log(`${(await job.status()).state}: ${toolName} ${JSON.stringify(args)}?`);
  await job.approve(callId, { by: "grace" });
}

const { finalResponse, agent, toolExecutionHistory, guardrails } = await job.result();
for (const { toolName, result, approval } of toolExecutionHistory)
  console.log(`${toolName}: ${result}${approval ? ` (approved by ${approval.by})` : ""}`);
for (const { name, action, shadow } of guardrails)
  console.log(`${name}: ${action}${shadow ? " in shadow" : ""}`);
console.log(`${agent}: ${finalResponse}`);
