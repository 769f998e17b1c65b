/** Answers while they come, and from any process that has the job's id. In your project: `from "gluellm"`. */
import { GlueLLM } from "../src/index.ts";

await using glue = new GlueLLM({ system: "You are a storyteller." });

for await (const event of glue.stream("Tell me of a lighthouse.", { maxTokens: 300 })) {
  switch (event.type) {
    case "text":
      process.stdout.write(event.text);
      break;
    case "restart":
      // The worker was lost, or the provider broke off: what was printed is void.
      process.stdout.write("\n— from the beginning —\n");
      break;
    case "result":
      console.log(`\n${event.result.tokensUsed.completion} tokens`);
  }
}

// A job that is streamed to whoever has its id, from its beginning whenever they join.
const { id } = await glue.enqueue("And of a mountain.", { stream: true });
let text = "";
for await (const event of glue.handle(id).stream({ timeoutMs: 60_000 })) {
  if (event.type === "turn" || event.type === "restart") text = "";
  if (event.type === "text") text += event.text;
  if (event.type === "result") console.log(`told in whole: ${text === event.result.finalResponse}`);
}
