/** A conversation that lives in Redis: any process goes on with it by its id. In your project: `from "gluellm"`. */
import { GlueLLM } from "../src/index.ts";

await using glue = new GlueLLM();

// `glue.complete()` stands alone each time; a conversation knows what was said before.
const conversation = glue.conversation({ system: "You are a patient teacher." });
const first = await conversation.complete("What is a prime number?");
console.log(`first: ${first.finalResponse}`);

// Enqueued together, answered one after the other: each call waits for the answer before it.
const questions = ["Is 91 one?", "And 97?"];
const handles = await Promise.all(questions.map((question) => conversation.enqueue(question)));
for (const handle of handles) console.log(`then: ${(await handle.result()).finalResponse}`);

// Any process can go on with it, for 30 days after its last message.
const again = glue.conversation({ id: conversation.id });
await again.addMessage("user", "My favourite is 7.");
await again.complete("Which one did I say I like?");
const messages = await again.messages();
console.log(`roles: ${messages.map(({ role }) => role).join(" ")}`);

const { calls, tokensUsed, costUsd } = await again.usage();
console.log(
  `usage: ${calls} calls, ${tokensUsed.total > 0 ? "some" : "no"} tokens, cost ${costUsd ?? "unknown"}`,
);

// The old conversation stays under its id.
again.reset();
console.log(`after reset: ${(await again.messages()).length} messages`);
