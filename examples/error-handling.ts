/** Errors are classes that say what to do, wherever they happened. In your project: `from "gluellm"`. */
import { AuthenticationError, CostLimitError, GlueError, GlueLLM, RateLimitError } from "../src/index.ts";

await using glue = new GlueLLM();

/** The fields that every error of the package has. */
function explain(error: unknown): void {
  if (!(error instanceof GlueError)) throw error;
  const { name, code, category, severity, retryable, message, hint } = error;
  console.log(`${name} ${code} (${category}, ${severity}, retryable: ${retryable}): ${message}`);
  if (hint) console.log(`  hint: ${hint}`);
}

// What can be known to be wrong is said at once, before anything is enqueued.
await glue.complete(" ").catch(explain);
await glue.complete("Hello", { model: "opneai:gpt-4o-mini" }).catch(explain);
await glue.complete("Hello", { temperature: 3 }).catch(explain);

// A job's own error comes back as its class, with the job's id. 429s, 5xx and lost connections were retried by then.
try {
  const { model } = await glue.complete("Name a prime number above 100.", { maxAttempts: 5 });
  console.log(`answered by ${model}`);
} catch (error) {
  if (error instanceof RateLimitError) console.log(`come back in ${error.retryAfterMs} ms`);
  else if (error instanceof AuthenticationError) console.log(`the key: ${error.hint}`);
  else explain(error);
}

// Who stops waiting leaves the job alone: it can be asked for later, or cancelled.
const handle = await glue.enqueue("Think for long.", { delayMs: 60_000 });
await handle.result({ timeoutMs: 10 }).catch(explain);
await handle.cancel();
await handle.result().catch(explain);

// A cost limit stops before the call that could pass it. It needs a price: the price list's, or one of GLUELLM_PRICES.
try {
  await glue.complete("Write a novel.", { maxCostUsd: 0.000001 });
} catch (error) {
  explain(error);
  if (error instanceof CostLimitError) console.log(`  spent: $${error.context.spentUsd}`);
}

// With several models the next one answers when one cannot. Here the first is a server of your own, set in .env as
// GLUELLM_PROVIDERS={"local":{"baseUrl":"http://127.0.0.1:8080/v1","keyOptional":true}}
const { model } = await glue.complete("Say hello.");
try {
  const { fallbacks, ...answer } = await glue.complete("Say hello.", {
    model: ["local:llama", model],
    maxAttempts: 1,
  });
  for (const { model, code } of fallbacks) console.log(`gave up ${model}: ${code}`);
  console.log(`answered by ${answer.model}`);
} catch (error) {
  explain(error);
}
