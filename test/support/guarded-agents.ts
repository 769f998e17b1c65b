import { subscribe } from "node:diagnostics_channel";
import { appendFileSync } from "node:fs";
import { z } from "zod";
import { Agent, defineGuardrail, defineTool } from "../../src/index.ts";

/*
 * Agents of a support desk, as a module of workers. With KILLED_AFTER the worker is killed when the journal of the first job that it sees
 * has so many entries.
 */

const { KILLED_AFTER, TRACE_FILE } = process.env;
if (KILLED_AFTER !== undefined) {
  let first: string | undefined;
  subscribe("gluellm:journal", (message) => {
    const { jobId, position } = message as { jobId: string; position: number };
    first ??= jobId;
    if (jobId === first && position === Number(KILLED_AFTER)) process.kill(process.pid, "SIGKILL");
  });
}

function leaveTrace(line: string): void {
  if (TRACE_FILE) appendFileSync(TRACE_FILE, `${line}\n`);
}

const judged = defineGuardrail({
  name: "judged",
  stage: "pre",
  check: async ({ text, ask, jobId }) => {
    leaveTrace(`judged ${jobId}`);
    const answer = await ask(`Is this rude? ${text}`);
    return { action: "flag", reason: answer.slice(0, 10) };
  },
});
const polite = defineGuardrail({
  name: "polite",
  stage: "post",
  check: ({ jobId }) => {
    leaveTrace(`polite ${jobId}`);
    return { action: "flag", reason: "seen" };
  },
});
const look = defineTool({
  name: "look_up",
  description: "Looks up an order.",
  parameters: z.object({ order: z.string() }),
  execute: ({ order }, { executionId }) => {
    leaveTrace(`look_up ${executionId}`);
    return `order ${order}: 20 USD`;
  },
});
const refund = defineTool({
  name: "refund",
  description: "Pays money back.",
  parameters: z.object({ usd: z.number() }),
  needsApproval: true,
  execute: ({ usd }, { executionId }) => {
    leaveTrace(`refund ${executionId}`);
    return `refunded ${usd}`;
  },
});
const writer = new Agent({ name: "writer", description: "Writes letters.", systemPrompt: "Write." });
const support = new Agent({
  name: "support",
  description: "Helps with orders.",
  systemPrompt: "Help with orders.",
  tools: [look, refund, writer.asTool()],
  guardrails: [polite],
});
export const desk = new Agent({
  name: "desk",
  description: "Sorts requests.",
  systemPrompt: "Sort requests.",
  guardrails: [judged],
}).handoff(support);
