/** A workflow that waits for a person, for days if need be. In your project: `from "gluellm"`. */
import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { defineWorkflow, GlueLLM, type WorkflowHandle } from "../src/index.ts";

const reviewSchema = z.object({ approved: z.boolean(), note: z.string().default("") });

const announce = defineWorkflow({
  name: "announce",
  input: z.object({ topic: z.string() }),
  output: z.string(),
  // What does not fit is refused where it is sent; console and command line show what does.
  signals: { review: reviewSchema },
  run: async (ctx, { topic }) => {
    const draft = await ctx.complete("draft", `Announce in two sentences: ${topic}.`);
    ctx.metadata.set("draft", draft.finalResponse);
    // Meanwhile the run holds nothing: no slot, no connection. Processes may come and go.
    const waitOptions = { timeoutMs: 7 * 86_400_000 };
    const { approved, note } = await ctx.waitFor<z.infer<typeof reviewSchema>>("review", waitOptions);
    if (approved) return draft.finalResponse;
    return (await ctx.complete("revise", `${draft.finalResponse}\n\nRewrite it. ${note}`)).finalResponse;
  },
});

// The outside, such as a web server: it starts runs and answers them, and works on none itself.
await using desk = new GlueLLM({ mode: "fleet" });
const run = await desk.workflows.start(announce, { topic: "the library opens on Sundays" });
console.log(`waits for ${(await run.status()).waitsFor.join()}`);

await using worker = new GlueLLM({ mode: "local", workflows: [announce] });
await reviewAsked(worker.workflows.open(run.id));
const { state, waitsFor, metadata } = await run.status();
console.log(`${state}, waits for ${waitsFor.join()}; to review: ${metadata.draft}`);
await printSteps(run);

await run.signal("review", { approved: true });
console.log(`approved: ${await run.result()}`);

// What if it had been refused? A fork goes on from a step, with what came before it already paid.
const refused = await run.fork({ fromStep: "review" });
await refused.signal("review", { approved: false, note: "Say what it costs." });
console.log(`refused: ${await refused.result()}`);
await printSteps(refused);

// Or if another text had been approved: `results` stand in for what earlier steps brought.
const draft = { finalResponse: "Open on Sundays, from May." };
const other = await run.fork({ fromStep: "review", changes: { results: { draft } } });
await other.signal("review", { approved: true });
console.log(`another text: ${await other.result()}`);

async function reviewAsked(handle: WorkflowHandle): Promise<void> {
  const isAsked = async () =>
    (await handle.steps()).some(({ kind, state }) => kind === "signal" && state === "running");
  while (!(await isAsked())) await setTimeout(50);
}

async function printSteps(handle: WorkflowHandle): Promise<void> {
  const steps = await handle.steps();
  console.log(`  ${steps.map(({ step, kind, state }) => `${step}: ${kind} ${state}`).join(", ")}`);
}
