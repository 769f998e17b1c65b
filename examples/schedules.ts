/** What runs at times: a workflow on weekday mornings, a completion every two seconds. In your project: `from "gluellm"`. */
import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { defineWorkflow, GlueLLM } from "../src/index.ts";

const digest = defineWorkflow({
  name: "digest",
  input: z.object({ of: z.string() }),
  output: z.string(),
  run: async (ctx, { of }) => (await ctx.complete("write", `Sum up ${of} in one sentence.`)).finalResponse,
});

// In a fleet any worker runs the ticks; here this process does.
await using glue = new GlueLLM({ mode: "local", workflows: [digest] });

// Once, from a script of yours or the command line. The same definition again changes nothing.
const morning = await glue.schedules.create({
  id: "morning-digest",
  workflow: digest,
  input: { of: "the news" },
  cron: "0 9 * * 1-5",
  timezone: "Europe/Berlin",
  overlap: "queue",
  catchUp: "last",
});
const hours = morning.next(5).map((time) => time.toLocaleTimeString("en-GB", { timeZone: "Europe/Berlin" }));
console.log(`the next five mornings in Berlin: ${hours.join(", ")}`);

// A tick out of turn.
const run = await morning.trigger();
console.log(`by hand: ${await glue.workflows.open(run).result()}`);

await glue.schedules.create({
  id: "pulse",
  completion: { message: "Say hello.", maxTokens: 20 },
  everyMs: 2000,
});
let pulse = await glue.schedules.get("pulse");
while (pulse.counts.started < 2) {
  await setTimeout(100);
  pulse = await pulse.status();
}
pulse = await pulse.pause();
const [last, first] = pulse.ticks;
console.log(
  `${pulse.state} after ${(last?.plannedAt.getTime() ?? 0) - (first?.plannedAt.getTime() ?? 0)} ms between two ticks`,
);
console.log(`the last: ${(await glue.handle(pulse.lastRun?.id ?? "").result()).finalResponse}`);

for (const { id, kind, subject, state } of await glue.schedules.list())
  console.log(`${id}: ${kind} ${subject}, ${state}`);
for (const { id } of await glue.schedules.list()) await glue.schedules.delete(id);
