/**
 * What failed for good is tried again with another model, and what was paid is not paid again. The model that fails is a server of your
 * own that is down, set as GLUELLM_PROVIDERS={"local":{"baseUrl":"http://127.0.0.1:8080/v1","keyOptional":true}}. In your project:
 * `from "gluellm"`.
 */
import { GlueLLM } from "../src/index.ts";

await using glue = new GlueLLM();
const { model } = await glue.complete("Say hello.");

const jobs = ["sea", "stone", "cloud"].map((word) =>
  glue.complete(`Describe a ${word}.`, { model: "local:llama", maxAttempts: 1 }),
);
await Promise.allSettled(jobs);

// The last job has left its queue's hands a moment after its caller knew of its end.
const where = { model: "local:llama" };
while ((await glue.deadLetters.list(where)).length < jobs.length)
  await new Promise((go) => setTimeout(go, 50));

for (const { code, subject, count } of await glue.deadLetters.groups(where))
  console.log(`${count} × ${code} of ${subject}`);

const dry = await glue.deadLetters.replay(where, { model, dryRun: true });
console.log(`would be replayed: ${dry.matched}, price known: ${dry.quoteUsd !== null}`);

const { replayed } = await glue.deadLetters.replay(where, { model });
for (const id of Object.values(replayed)) {
  const { finishReason, model: answered } = await glue.handle(id).result();
  console.log(`${answered}: ${finishReason}`);
}
console.log(`left: ${(await glue.deadLetters.list(where)).length}`);
