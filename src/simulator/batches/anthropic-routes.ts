import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { anthropicDialect } from "../anthropic/dialect.ts";
import { send, sendJson } from "../http-answer.ts";
import { InvalidCallError } from "../invalid-call.ts";
import { readShape } from "../read-shape.ts";
import { pageOf } from "./page.ts";
import { readable, takes } from "./plan.ts";
import type { ProviderBatch, ProviderBatches, RowResult } from "./provider-batches.ts";

const createSchema = z.looseObject({
  requests: z
    .array(
      z.looseObject({
        custom_id: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
        params: z.looseObject({ model: z.string(), stream: z.literal(false).nullish() }),
      }),
    )
    .min(1)
    .max(100_000),
});

/** Serves `/v1/messages/batches`. @throws InvalidCallError for what Anthropic would refuse. */
export async function serveAnthropicBatches(
  batches: ProviderBatches,
  account: string,
  path: readonly string[],
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
  body: () => Promise<unknown>,
): Promise<void> {
  const { method, headers } = request;
  const [id, act] = path;
  const base = `http://${headers.host}`;
  if (method === "POST" && !id) return create(batches, account, await body(), base, response);
  if (method === "GET" && !id) {
    const [after, before, limit] = ["after_id", "before_id", "limit"].map((name) => query.get(name));
    const asked = { after: after ?? null, before: before ?? null, limit: limit ?? null };
    const page = pageOf(batches.list(account, "anthropic"), asked, batches.plan, (one) => view(one, base));
    return sendJson(response, 200, page);
  }
  const batch = id === undefined ? undefined : batches.get(account, id);
  if (!batch) throw new InvalidCallError(`No such batch: ${id}`, undefined, 404);
  if (method === "POST" && act === "cancel") {
    batches.cancel(batch);
    return sendJson(response, 200, view(batch, base));
  }
  if (method === "GET" && act === "results") {
    if (!batch.results) throw new InvalidCallError("The batch has not ended yet.", undefined, 404);
    if (batches.plan.areResultsGone) throw new InvalidCallError("The results have expired.", undefined, 404);
    return send(response, 200, "application/x-jsonl", readable(batches.plan, resultLines(batch)));
  }
  if (method === "GET" && !act) return sendJson(response, 200, view(batch, base));
  throw new InvalidCallError("Not Found", undefined, 404);
}

function create(
  batches: ProviderBatches,
  account: string,
  body: unknown,
  base: string,
  response: ServerResponse,
): void {
  const { requests } = readShape(createSchema, body);
  const names = new Set(requests.map(({ custom_id }) => custom_id));
  if (names.size < requests.length) throw new InvalidCallError("requests: custom_id must be unique");
  if (takes(batches.plan, "failValidation")) throw new InvalidCallError("requests: refused (injected)");
  const batch = batches.create(
    { id: batches.newId("msgbatch_"), dialect: anthropicDialect, account, failure: undefined, own: {} },
    requests.map(({ custom_id: customId, params }) => ({
      customId,
      body: params,
      dialect: anthropicDialect,
    })),
  );
  if (takes(batches.plan, "loseCreateAnswers")) response.destroy();
  else sendJson(response, 200, view(batch, base));
}

/** Anthropic tells no counts but `processing` before a batch has ended. */
function view(batch: ProviderBatch, base: string): object {
  const { id, rows, results, createdAt, expiresAt, cancelledAt, endedAt } = batch;
  const time = (at: number | undefined) => (at === undefined ? null : new Date(at).toISOString());
  const count = (state: RowResult["state"]) => results?.filter((one) => one.state === state).length ?? 0;
  return {
    id,
    type: "message_batch",
    processing_status:
      endedAt !== undefined ? "ended" : cancelledAt !== undefined ? "canceling" : "in_progress",
    request_counts: {
      processing: results ? 0 : rows.length,
      succeeded: count("succeeded"),
      errored: count("errored"),
      canceled: count("cancelled"),
      expired: count("expired"),
    },
    created_at: time(createdAt),
    expires_at: time(expiresAt),
    cancel_initiated_at: time(cancelledAt),
    ended_at: time(endedAt),
    archived_at: null,
    results_url: results ? `${base}/v1/messages/batches/${id}/results` : null,
  };
}

function resultLines({ rows, results = [] }: ProviderBatch): string {
  const order = rows
    .map((_, at) => at)
    .sort((a, b) => (rows[a]?.doneAtShare ?? 0) - (rows[b]?.doneAtShare ?? 0));
  return order
    .map((at) => `${JSON.stringify({ custom_id: rows[at]?.customId, result: resultOf(results[at]) })}\n`)
    .join("");
}

function resultOf(result: RowResult | undefined): object {
  if (result?.state === "succeeded") return { type: "succeeded", message: result.body };
  if (result?.state === "errored") return { type: "errored", error: result.error.body };
  return { type: result?.state === "expired" ? "expired" : "canceled" };
}
