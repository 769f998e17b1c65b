import OpenAI, { toFile } from "openai";
import { MODEL } from "./site.ts";
import { waitFor } from "./wait-for.ts";

/* Batches of the API, by OpenAI's client. */

type Endpoint = OpenAI.BatchCreateParams["endpoint"];
export const CHAT = "/v1/chat/completions";
/** A line that asks a model of chat completions. */
export const chatLine = (n: number, content = `question ${n}`, more = {}) => ({
  custom_id: `row-${n}`,
  method: "POST",
  url: CHAT,
  body: { model: MODEL, messages: [{ role: "user", content }], ...more },
});
export const lines = (asked: readonly unknown[]) =>
  asked.map((row) => `${typeof row === "string" ? row : JSON.stringify(row)}\n`).join("");

/** Uploads a file of these lines and makes a batch of it. */
export async function submit(
  client: OpenAI,
  asked: readonly unknown[],
  endpoint: Endpoint = CHAT,
  more: Partial<OpenAI.BatchCreateParams> = {},
) {
  const file = await toFile(Buffer.from(lines(asked)), "in.jsonl");
  const { id } = await client.files.create({ file, purpose: "batch" });
  return client.batches.create({ input_file_id: id, endpoint, completion_window: "24h", ...more });
}

export const rows = (count: number) => Array.from({ length: count }, (_, n) => chatLine(n));
export const clientOf = ({ baseURL, apiKey }: { baseURL: string; apiKey: string }) =>
  new OpenAI({ baseURL, apiKey });

const ENDS = ["completed", "failed", "expired", "cancelled"];

/** Waits for a batch's end; returns it. */
export async function ended(client: OpenAI, id: string) {
  let batch = await client.batches.retrieve(id);
  await waitFor(`the end of ${id}`, async () => {
    batch = await client.batches.retrieve(id);
    return ENDS.includes(batch.status);
  });
  return batch;
}

interface Line {
  id: string;
  custom_id: string;
  response: { status_code: number; request_id: string; body: Record<string, unknown> } | null;
  error: { code: string; message: string } | null;
}

/** Returns the lines of an output or error file. */
export async function results(client: OpenAI, fileId: string | null | undefined): Promise<Line[]> {
  const text = await (await client.files.content(fileId ?? "")).text();
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}
