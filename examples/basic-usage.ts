/** The client in a few lines: no server to start, no worker to run. In your project: `from "gluellm"`. */
import { GlueLLM, RateLimitError } from "../src/index.ts";

// With no Redis configured the client brings an embedded one, and a worker in this process.
await using glue = new GlueLLM({ system: "You are brief." });

const result = await glue.complete("What is the capital of France?", { maxTokens: 200, temperature: 0 });
console.log(`answer: ${result.finalResponse}`);
console.log(`model: ${result.model}, finish reason: ${result.finishReason}, attempts: ${result.attempts}`);
const { prompt, completion, total } = result.tokensUsed;
console.log(`tokens: ${prompt} + ${completion} = ${total}`);

// The job is safe in Redis when this resolves. The same key again gives the same job, paid once.
const handle = await glue.enqueue("Name a prime number above 100.", { idempotencyKey: "prime-above-100" });
const again = await glue.enqueue("Name a prime number above 100.", { idempotencyKey: "prime-above-100" });
console.log(`same job: ${handle.id === again.id}`);

// Any process can open the handle again by its id.
const later = glue.handle(handle.id);
const { finalResponse } = await later.result({ timeoutMs: 60_000 });
console.log(`later: ${finalResponse}`);
console.log(`status: ${(await later.status()).state}`);

const unwanted = await glue.enqueue("Nobody needs this.", { delayMs: 3_600_000 });
console.log(`cancelled: ${await unwanted.cancel()}`);
try {
  await unwanted.result();
} catch (error) {
  // Errors are of their class again, whichever process they happened in.
  if (error instanceof RateLimitError) console.log(`come back in ${error.retryAfterMs} ms`);
  else console.log(`${(error as Error).name}: ${(error as Error).message}`);
}
