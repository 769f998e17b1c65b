/** A workflow: a function over many calls that survives its process. In your project: `from "gluellm"`. */
import { z } from "zod";
import { defineWorkflow, GlueLLM, pipeline } from "../src/index.ts";

const research = defineWorkflow({
  name: "research",
  input: z.object({
    topic: z.string(),
    angles: z.array(z.string()).default(["history", "figures", "open questions"]),
  }),
  output: z.object({ title: z.string(), sections: z.array(z.string()), draft: z.string() }),
  run: async (ctx, { topic, angles }) => {
    // Side by side, as far as the account's limits allow. Steps may share a name: facts, facts#2, facts#3.
    const facts = await Promise.all(
      angles.map((angle) => ctx.complete("facts", `The most important facts about ${topic}: its ${angle}.`)),
    );
    const notes = facts.map(({ finalResponse }) => finalResponse).join("\n\n");
    const outline = await ctx.structured("outline", `Outline an article about ${topic}:\n\n${notes}`, {
      schema: z.object({ title: z.string(), sections: z.array(z.string()).min(1).max(5) }),
    });
    const sections = outline.sections.join("\n");
    const draft = await ctx.complete("draft", `Write "${outline.title}".\n\n${sections}\n\nNotes:\n${notes}`);
    return { ...outline, draft: draft.finalResponse };
  },
});

await using glue = new GlueLLM({ workflows: [research] });

const run = await glue.workflows.start(research, { topic: "tides" });
const { title, sections, draft } = await run.result();
console.log(`${title}: ${sections.length} sections, a draft: ${draft.length > 0}`);
for (const { step, kind, state } of await run.steps()) console.log(`  ${step}: ${kind} ${state}`);

// The same id and input are the same run, from any process and at any time: nothing is paid twice.
const again = await glue.workflows.start(research, { topic: "tides" }, { runId: run.id });
console.log(`the same run: ${(await again.result()).draft === draft}`);

// Where each step only works on what the one before wrote, the pattern `pipeline` says it in three lines.
const work = { outline: "Outline an article.", draft: "Write the article.", edit: "Shorten the article." };
const stages = Object.entries(work).map(([name, systemPrompt]) => ({ name, agent: { name, systemPrompt } }));
const article = await (await glue.workflows.start(pipeline, { input: "Tides", stages })).result();

console.log(`by stages: ${article.agentInteractions.map(({ stage }) => stage).join(", ")}`);
console.log(
  `each reads the one before: ${article.agentInteractions[1]?.input === article.agentInteractions[0]?.output}`,
);
