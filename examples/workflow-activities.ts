/** Work of your own that spreads over the fleet, for few customers at a time. In your project: `from "gluellm"`. */
import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { defineActivity, defineWorkflow, GlueLLM, type WorkflowHandle } from "../src/index.ts";

// Local code as a job: any worker that has it may take it. Each try goes on where the last heartbeat of the one before was.
const countWords = defineActivity({
  name: "count-words",
  input: z.object({ pages: z.array(z.string()) }),
  output: z.number(),
  retry: { maxAttempts: 3, minWaitMs: 10 },
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  run: async ({ pages }, { attempt, details, heartbeat, signal, log }) => {
    const known = z.object({ page: z.number(), words: z.number() }).safeParse(details).data;
    let { page, words } = known ?? { page: 0, words: 0 };
    for (; page < pages.length; page++) {
      signal.throwIfAborted();
      await heartbeat({ page, words });
      // A fault that passes: the second try begins with the second page.
      if (attempt === 1 && page === 1) throw new Error("the disk was busy");
      words += (pages[page] ?? "").split(/\s+/).length;
    }
    log.info({ words }, "counted");
    return words;
  },
});

const library = defineWorkflow({
  name: "library",
  input: z.object({ customer: z.string(), books: z.record(z.string(), z.array(z.string())) }),
  output: z.object({ customer: z.string(), words: z.record(z.string(), z.number()) }),
  // One library of a customer at a time; others of the same customer wait, without a slot of a worker.
  concurrency: { limit: 1, key: "customer" },
  run: async (ctx, { customer, books }) => {
    const counted = Object.entries(books).map(async ([title, pages]) => {
      const words = await ctx.activity(countWords, { pages });
      return [title, words] as const;
    });
    const words = Object.fromEntries(await Promise.all(counted));
    await ctx.waitFor("seen");
    return { customer, words };
  },
});

const books = {
  tides: ["the moon pulls", "the sun pulls too"],
  winds: ["warm air rises", "cold air sinks below"],
};

// A worker that has the workflow alone: its runs wait for one that has the activity.
await using desk = new GlueLLM({ mode: "local", workflows: [library] });
const start = (customer: string, runId: string) =>
  desk.workflows.start(library, { customer, books }, { runId });
const ben = await start("ben", "ben-1");
const ann = await start("ann", "ann-1");
await until(() => waitsFor(ann, "a worker with activity"));
const annAgain = await start("ann", "ann-2");
await until(() => waitsFor(ben, "a worker with activity"));
console.log(`ben waits for ${(await ben.status()).waitsFor.join()}`);

await using worker = new GlueLLM({ mode: "local", activities: [countWords] });
await worker.workflows.activities();
for (const run of [ben, ann, annAgain]) {
  await until(() => waitsFor(run, "signal"));
  if (run === ann) console.log(`ann's second library waits for ${(await annAgain.status()).waitsFor.join()}`);
  await run.signal("seen");
  console.log(await run.result());
}
for (const { step, kind, state } of await ben.steps()) console.log(`  ${step}: ${kind} ${state}`);

async function waitsFor(run: WorkflowHandle, what: string): Promise<boolean> {
  return (await run.status()).waitsFor.some((reason) => reason.startsWith(what));
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await setTimeout(50);
}
