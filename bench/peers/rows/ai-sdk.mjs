/** `generateText` of the AI SDK, which retries, some at a time by `p-limit`. It knows nothing of limits. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";
import pLimit from "p-limit";
import { append, CONCURRENCY, RETRIES, rowsToDo } from "./files.mjs";

const provider = createOpenAICompatible({ name: "provider", baseURL: process.env.PROVIDER_URL });
const model = provider.chatModel("bench");
const limit = pLimit(CONCURRENCY);
const answer = async ({ prompt, max_tokens }) =>
  (await generateText({ model, prompt, maxOutputTokens: max_tokens, maxRetries: RETRIES })).text;
await Promise.allSettled(rowsToDo().map((row) => limit(async () => append(row, await answer(row)))));
