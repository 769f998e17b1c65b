/**
 * OpenAI's own client against the API: any language's works likewise.
 *
 *     npx gluellm api          # prints OPENAI_BASE_URL and OPENAI_API_KEY to paste
 *     node examples/api.ts openai:gpt-4o-mini
 */
import OpenAI from "openai";

// It reads OPENAI_BASE_URL and OPENAI_API_KEY.
const client = new OpenAI();
const model = process.argv[2] ?? "openai:gpt-4o-mini";

const answer = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Name a prime number above 100." }],
});
console.log(answer.choices[0]?.message.content);

const stream = await client.responses.create({ model, input: "Count to three.", stream: true });
for await (const event of stream) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
console.log();
