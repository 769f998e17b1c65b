/** ReAct: thoughts and tools in turn, until the answer is known. In your project: `from "gluellm"`. */
import { z } from "zod";
import { Agent, defineTool, GlueLLM, react } from "../src/index.ts";
import { evaluate } from "./parts/arithmetic.ts";
import { sectionsOfDocs } from "./parts/documents.ts";

const calculator = defineTool({
  name: "calculator",
  description: "The value of an expression of numbers, + - * / and brackets.",
  parameters: z.object({ expression: z.string().max(200) }),
  execute: ({ expression }) => {
    const value = evaluate(expression);
    // What a tool throws is an observation too: the next step can correct it.
    if (!Number.isFinite(value)) throw new RangeError(`"${expression}" has no value`);
    return value;
  },
});

const searchDocs = defineTool({
  name: "search_docs",
  description:
    "Lines of this library's documentation that have all of the words, with the section they are in.",
  parameters: z.object({ words: z.array(z.string().min(3)).min(1).max(5) }),
  execute: ({ words }) => {
    const lines = sectionsOfDocs().flatMap(({ source, content }) =>
      content.split("\n").map((line) => ({ source, line })),
    );
    const found = lines.filter(({ line }) =>
      words.every((word) => line.toLowerCase().includes(word.toLowerCase())),
    );
    return found.slice(0, 10);
  },
});

const reasoner = new Agent({
  name: "reasoner",
  description: "Finds things out.",
  systemPrompt: "You look things up and calculate; you do not guess.",
  tools: [calculator, searchDocs],
});

// A run's input names the tools; the workers have to know them. In a fleet: `gluellm worker --module tools.ts`.
await using glue = new GlueLLM({ tools: [calculator, searchDocs] });

const run = await glue.workflows.start(react, {
  input: "A run may have many steps in a row or side by side. How many times as many in a row?",
  reasoner,
  maxSteps: 6,
});
const { finalOutput, iterations, metadata } = await run.result();

const { steps } = metadata as { steps: Step[] };
for (const [n, { thought, actions }] of steps.entries()) {
  console.log(`${n + 1}. ${thought}`);
  for (const { tool, arguments: args, observation } of actions)
    console.log(`   ${tool} ${JSON.stringify(args)} → ${observation}`);
}
console.log(`after ${iterations} steps: ${finalOutput}`);

interface Step {
  thought: string;
  actions: { tool: string; arguments: unknown; observation: string }[];
}
