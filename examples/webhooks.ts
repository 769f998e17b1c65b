/**
 * Webhooks: a receiver that checks signatures with OpenAI's client, and is told of the end of a batch.
 *
 *     export GLUELLM_WEBHOOK_ALLOW_PRIVATE=127.0.0.0/8     # the receiver is on this machine
 *     npx gluellm api          # prints OPENAI_BASE_URL and OPENAI_API_KEY to paste
 *     node examples/webhooks.ts openai:gpt-4o-mini
 */
import express from "express";
import OpenAI, { toFile } from "openai";

const openai = new OpenAI();
const model = process.argv[2] ?? "simulator:test";
const ended = Promise.withResolvers<string>();

const app = express();
app.post("/hook", express.text({ type: "*/*" }), async (request, response) => {
  const event = await openai.webhooks.unwrap(request.body, request.headers).catch(() => undefined);
  response.sendStatus(event ? 204 : 400);
  if (event?.type === "batch.completed") ended.resolve(event.data.id);
});

const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const { port } = server.address() as { port: number };

// What `gluellm webhooks add http://127.0.0.1:PORT/hook --event batch.*` does. OPENAI_WEBHOOK_SECRET would hold the secret.
const webhooks = new URL("/api/webhooks", openai.baseURL).href;
const url = `http://127.0.0.1:${port}/hook`;
const webhook = await openai.post<{ id: string; secret: string }>(webhooks, {
  body: { url, events: ["batch.*"] },
});
openai.webhookSecret = webhook.secret;

const messages = [{ role: "user", content: "Name a prime number above 100." }];
const line = { custom_id: "prime", method: "POST", url: "/v1/chat/completions", body: { model, messages } };
const file = await openai.files.create({
  file: await toFile(Buffer.from(JSON.stringify(line)), "in.jsonl"),
  purpose: "batch",
});
const batch = await openai.batches.create({
  input_file_id: file.id,
  endpoint: "/v1/chat/completions",
  completion_window: "24h",
});

const id = await ended.promise;
const { request_counts } = await openai.batches.retrieve(id);
console.log("told of the batch's end:", id === batch.id, request_counts?.completed);

await openai.delete(`${webhooks}/${webhook.id}`);
server.close();
server.closeAllConnections();
