/** The call that all scripts make but the one of @ai-sdk. */
import OpenAI from "openai";
import { RETRIES } from "./files.mjs";

const client = new OpenAI({ apiKey: "none", baseURL: process.env.PROVIDER_URL });

/** `maxRetries` is what the SDK does by itself. */
export async function complete({ prompt, max_tokens }, maxRetries = RETRIES) {
  const messages = [{ role: "user", content: prompt }];
  const body = { model: "bench", messages, max_tokens };
  const completion = await client.chat.completions.create(body, { maxRetries });
  return completion.choices[0].message.content;
}
