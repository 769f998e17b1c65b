/**
 * Settings: from the environment, then from `.env` (`.env.example` lists them all), and single ones can be replaced in
 * code. In your project: `from "gluellm"`.
 */
import { GlueLLM } from "../src/index.ts";

await using glue = new GlueLLM({
  // `local`: this process works too. `fleet`: it only enqueues, and processes of `gluellm worker` have the keys.
  mode: "local",
  system: "You are brief.",
  // Of all calls: equal questions share one answer, which the cache keeps for an hour.
  cache: { ttlSeconds: 3600 },
  settings: {
    // What the provider allows, for all processes together; GLUELLM_LIMITS in the environment.
    limits: { "*": { rpm: 6000, tpm: 2_000_000, maxInFlight: 3 } },
    // USD per million tokens, where the price list is missing one or wrong; GLUELLM_PRICES.
    prices: { "simulator:*": { inputPerMillion: 0.15, outputPerMillion: 0.6 } },
    // How much this process takes on: conservative, balanced or aggressive; GLUELLM_PROFILE.
    profile: "conservative",
    // Attempts at 5xx, timeouts and lost connections; RETRY_MAX_ATTEMPTS, RETRY_MIN_WAIT, RETRY_MAX_WAIT.
    retry: { maxAttempts: 5, minWaitMs: 500, maxWaitMs: 10_000 },
    callTimeoutMs: 30_000,
  },
});

const numbers = Array.from({ length: 12 }, (_, n) => n + 1);
const answers = await Promise.all(numbers.map((n) => glue.complete(`Is ${n} prime?`, { maxTokens: 50 })));
const costUsd = answers.reduce((sum, answer) => sum + (answer.costUsd ?? 0), 0);
console.log(`${answers.length} answers, ${costUsd > 0 ? "priced" : "not priced"}`);

const again = await glue.complete("Is 7 prime?", { maxTokens: 50 });
console.log(`from the cache: ${again.fromCache}, cost: $${again.costUsd}`);

// A web server would be such a client: it needs no key, and its jobs are done by whoever works on the same Redis.
await using producer = new GlueLLM({ mode: "fleet" });
const { id } = await producer.enqueue("Is 91 prime?", { priority: 5, deadlineMs: 60_000 });
const { finishReason } = await producer.handle(id).result();
console.log(`done by the worker of the other client: ${finishReason}`);
