/**
 * A batch of the HTTP API, by OpenAI's own client. Start `npx gluellm api` first, and paste the line that it prints: it sets
 * OPENAI_BASE_URL and OPENAI_API_KEY.
 */
import { setTimeout as delay } from "node:timers/promises";
import OpenAI, { toFile } from "openai";

const openai = new OpenAI();
const words = ["sea", "stone", "cloud"];
// Lines that name no model take the server's DEFAULT_MODEL; "anthropic:claude-haiku-4-5" works as well.
const lines = words.map((word) => ({
  custom_id: word,
  method: "POST",
  url: "/v1/chat/completions",
  body: { messages: [{ role: "user", content: `A poem on ${word}.` }], max_tokens: 60 },
}));
const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
const file = await openai.files.create({
  file: await toFile(Buffer.from(text), "poems.jsonl"),
  purpose: "batch",
});
const { id } = await openai.batches.create({
  input_file_id: file.id,
  endpoint: "/v1/chat/completions",
  completion_window: "24h",
});

// It goes on by itself, whatever becomes of this program: keep the id.
let batch = await openai.batches.retrieve(id);
while (["validating", "in_progress", "finalizing"].includes(batch.status)) {
  await delay(500);
  batch = await openai.batches.retrieve(id);
}
console.log(`${batch.status}: ${batch.request_counts?.completed} of ${batch.request_counts?.total}`);
for (const { line, message } of batch.errors?.data ?? []) console.log(`line ${line}: ${message}`);
if (batch.output_file_id) {
  const output = await (await openai.files.content(batch.output_file_id)).text();
  for (const line of output.trimEnd().split("\n")) {
    const { custom_id, response } = JSON.parse(line);
    console.log(`${custom_id}: status ${response.status_code}, ${response.body.object}`);
  }
}
