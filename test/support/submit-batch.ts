import type OpenAI from "openai";
import { toFile } from "openai";
import { MODEL } from "./site.ts";

const CHAT = "/v1/chat/completions";

/** Creates a batch of the API that asks these questions; its rows are `row-0` and so on. */
export async function submitBatch(
  openai: OpenAI,
  questions: readonly string[],
  more: Partial<OpenAI.BatchCreateParams> = {},
): Promise<OpenAI.Batch> {
  const lines = questions.map((content, n) => {
    const body = { model: MODEL, messages: [{ role: "user", content }] };
    return `${JSON.stringify({ custom_id: `row-${n}`, method: "POST", url: CHAT, body })}\n`;
  });
  const file = await toFile(Buffer.from(lines.join("")), "in.jsonl");
  const { id } = await openai.files.create({ file, purpose: "batch" });
  return openai.batches.create({ input_file_id: id, endpoint: CHAT, completion_window: "24h", ...more });
}
