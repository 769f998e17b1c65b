import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { parseJson } from "../../shared/json.ts";
import type { Dialect } from "../dialect.ts";
import { send, sendJson } from "../http-answer.ts";
import { InvalidCallError } from "../invalid-call.ts";
import { openaiDialect } from "../openai/dialect.ts";
import { openaiEmbeddingsDialect } from "../openai/embeddings.ts";
import { openaiResponsesDialect } from "../openai/responses.ts";
import { readShape } from "../read-shape.ts";
import { receiveCall } from "../received-call.ts";
import { Files, notFound, receiveFile } from "./openai-files.ts";
import { view } from "./openai-view.ts";
import { pageOf } from "./page.ts";
import { takes } from "./plan.ts";
import type { ProviderBatch, ProviderBatches } from "./provider-batches.ts";

const ENDPOINTS: Record<string, Dialect> = {
  "/v1/chat/completions": openaiDialect,
  "/v1/responses": openaiResponsesDialect,
  "/v1/embeddings": openaiEmbeddingsDialect,
};
const MAX_ROWS = 50_000;

const createSchema = z.looseObject({
  input_file_id: z.string(),
  endpoint: z.string(),
  completion_window: z.literal("24h"),
  metadata: z.record(z.string(), z.string().max(512)).nullish(),
});
const lineSchema = z.looseObject({
  custom_id: z.string(),
  method: z.literal("POST"),
  url: z.string(),
  body: z.looseObject({}),
});

/** Serves `/v1/files` and `/v1/batches`. @throws InvalidCallError for what OpenAI would refuse. */
export async function serveOpenAiBatches(
  batches: ProviderBatches,
  account: string,
  path: readonly string[],
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
  body: () => Promise<unknown>,
): Promise<void> {
  const { method } = request;
  const [object, id, act] = path;
  const files = new Files(batches, account);
  if (object === "files") {
    if (method === "POST" && !id)
      return sendJson(response, 200, files.view(await receiveFile(files, request)));
    if (method === "GET" && id && act === "content")
      return send(response, 200, "application/jsonl", files.text(id));
    if (method === "GET" && id) return sendJson(response, 200, files.view(id));
    if (method === "DELETE" && id) return sendJson(response, 200, files.remove(id));
  }
  if (object === "batches") {
    if (method === "POST" && !id) return create(batches, files, account, await body(), response);
    if (method === "GET" && !id)
      return sendJson(response, 200, {
        object: "list",
        ...pageOf(
          batches.list(account, "openai"),
          { after: query.get("after"), limit: query.get("limit") },
          batches.plan,
          (one) => view(batches, one, files),
        ),
      });
    const batch = id === undefined ? undefined : batches.get(account, id);
    if (!batch) throw notFound(`No batch found with id '${id}'.`);
    if (method === "POST" && act === "cancel") batches.cancel(batch);
    if (method === "GET" || act === "cancel") return sendJson(response, 200, view(batches, batch, files));
  }
  throw notFound(`Unknown request URL: ${method} /v1/${path.join("/")}`);
}

function create(
  batches: ProviderBatches,
  files: Files,
  account: string,
  body: unknown,
  response: ServerResponse,
): void {
  const { input_file_id, endpoint, metadata = null } = readShape(createSchema, body);
  if (!(endpoint in ENDPOINTS)) throw new InvalidCallError(`Invalid endpoint: ${endpoint}`, "endpoint");
  const { lines, failure } = readLines(files.get(input_file_id).text, endpoint);
  const tooMany = failure ?? overPool(batches, account, lines);
  const refused = takes(batches.plan, "failValidation")
    ? { code: "invalid_request", message: "[simulated] The batch could not be validated." }
    : tooMany;
  const batch = batches.create(
    {
      id: batches.newId("batch_"),
      dialect: openaiDialect,
      account,
      failure: refused,
      own: { endpoint, input_file_id, completion_window: "24h", metadata },
    },
    refused ? [] : lines,
  );
  if (takes(batches.plan, "loseCreateAnswers")) response.destroy();
  else sendJson(response, 200, view(batches, batch, files));
}

type Line = { customId: string; body: unknown; dialect: Dialect };

function readLines(text: string, endpoint: string): { lines: Line[]; failure?: ProviderBatch["failure"] } {
  const texts = text.split("\n").filter((line) => line.trim() !== "");
  const fault = (code: string, message: string, line?: number) => ({
    lines: [],
    failure: { code, message, line },
  });
  if (texts.length === 0) return fault("empty_file", "The input file is empty.");
  if (texts.length > MAX_ROWS) return fault("too_many_tasks", `A batch has at most ${MAX_ROWS} requests.`);
  const seen = new Set<string>();
  const lines: Line[] = [];
  for (const [at, json] of texts.entries()) {
    const parsed = lineSchema.safeParse(parseJson(json));
    if (!parsed.success) return fault("invalid_json_line", "This line is not a valid request.", at + 1);
    const { custom_id: customId, url, body } = parsed.data;
    if (url !== endpoint) return fault("mismatched_endpoint", "The url is not the batch's endpoint.", at + 1);
    if (seen.has(customId))
      return fault("duplicate_custom_id", `The custom_id ${customId} was seen before.`, at + 1);
    seen.add(customId);
    lines.push({ customId, body, dialect: ENDPOINTS[endpoint] ?? openaiDialect });
  }
  return { lines };
}

/** OpenAI refuses what is over the pool of enqueued tokens only after it has taken the batch. */
function overPool(
  batches: ProviderBatches,
  account: string,
  lines: readonly Line[],
): ProviderBatch["failure"] {
  const { tokenPool } = batches.plan;
  if (tokenPool === null) return undefined;
  const model = String((lines[0]?.body as { model?: unknown })?.model);
  const tokens = lines.reduce((sum, line) => sum + tokensOf(line), 0);
  if (batches.pooledTokens(account, model) + tokens <= tokenPool) return undefined;
  return {
    code: "token_limit_exceeded",
    message: `Enqueued token limit reached for ${model} in organization org-simulator. Limit: ${tokenPool.toLocaleString("en-US")} enqueued tokens. Please try again once some in_progress batches have been completed.`,
  };
}

function tokensOf({ dialect, body }: Line): number {
  return receiveCall(dialect, Buffer.from(JSON.stringify(body)), undefined).call?.promptTokens ?? 0;
}
