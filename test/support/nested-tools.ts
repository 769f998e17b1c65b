import { appendFileSync } from "node:fs";
import { z } from "zod";
import { complete, defineTool, type Tool } from "../../src/index.ts";

/** Asks another model, through the client that the process shares. */
export const askExpert: Tool = defineTool({
  name: "ask_expert",
  description: "Asks an expert.",
  parameters: z.object({ question: z.string() }),
  execute: async ({ question }) => (await complete(question, { tools: [askExpert] })).finalResponse,
});

/** The same, and loses its worker each time that it has the answer, until it has run twice. */
export const askAndDie = defineTool({
  name: "ask_and_die",
  description: "Asks an expert.",
  parameters: z.object({ question: z.string() }),
  execute: async ({ question }) => {
    const answers = [await complete(question), await complete(question), await complete(`${question} again`)];
    const { TRACE_FILE = "", KILLED } = process.env;
    appendFileSync(TRACE_FILE, `${answers.map(({ jobId }) => jobId).join(" ")}\n`);
    if (KILLED) process.kill(process.pid, "SIGKILL");
    return answers.map(({ finalResponse }) => finalResponse);
  },
});
