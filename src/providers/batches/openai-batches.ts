import { randomUUID } from "node:crypto";
import { LANE_PRICE_SHARE } from "../../shared/cost.ts";
import { InvalidRequestError } from "../../shared/errors.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import { apiOf, type ProviderEntry } from "../../shared/providers.ts";
import { providerOptionsFor } from "../../shared/wire-options.ts";
import { readFault } from "../fault.ts";
import type { HttpPool } from "../http-pool.ts";
import { traitsOf } from "../model-traits.ts";
import { readChatAnswer } from "../openai-answer.ts";
import { asksForEmbeddings, toEmbeddingsReply, toEmbeddingsRequest } from "../openai-embeddings.ts";
import { toChatBody } from "../openai-request.ts";
import type { ProviderCall, ProviderReply } from "../provider.ts";
import { toLLMError, unusableAnswer } from "../provider-errors.ts";
import { readResponseAnswer } from "../responses-answer.ts";
import { toResponsesBody } from "../responses-request.ts";
import { BatchExchange } from "./exchange.ts";
import {
  type BatchAnswer,
  type BatchMark,
  type BatchRequest,
  CLOCK_SKEW_MS,
  type ProviderBatch,
  type ProviderBatches,
} from "./provider-batches.ts";

const MARK = "gluellm_buy";
/** Of the newest batches of an account, where one without an answer is looked for. */
const MAX_PAGES = 20;
const PAGE = 100;

/** Returns the batches of OpenAI. Source: https://platform.openai.com/docs/guides/batch */
export function createOpenAIBatches(entry: ProviderEntry, pool: HttpPool): ProviderBatches {
  const exchange = new BatchExchange(entry, pool);
  const endpointOf = ({ model, request }: ProviderCall) => {
    if (asksForEmbeddings(request)) return "/v1/embeddings";
    const isResponses = request.responses !== undefined || apiOf(entry, model) === "responses";
    return isResponses ? "/v1/responses" : "/v1/chat/completions";
  };
  const get = async (id: string) => toBatch(await exchange.json({ method: "GET", path: `/batches/${id}` }));
  return {
    maxRequests: 50_000,
    // Of 200 MB that OpenAI takes, so much fits into memory and into one answer.
    maxBytes: 48 * 1024 * 1024,
    priceShare: LANE_PRICE_SHARE,
    endpointOf,
    bodyOf: (call) => {
      refuseHeaders(entry, call);
      if (asksForEmbeddings(call.request)) return toEmbeddingsRequest(call);
      const { model, request } = call;
      const asked = {
        entry,
        model,
        request,
        providerOptions: providerOptionsFor(entry, call.wire),
        isStreamed: false,
      };
      const toBody = endpointOf(call) === "/v1/responses" ? toResponsesBody : toChatBody;
      return toBody(asked, traitsOf(entry, model));
    },
    async upload(requests, endpoint) {
      const boundary = `gluellm-${randomUUID()}`;
      const part = (head: string, content: string) =>
        `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n${content}\r\n`;
      const body = [
        part('name="purpose"', "batch"),
        part(
          'name="file"; filename="gluellm.jsonl"\r\nContent-Type: application/jsonl',
          linesOf(requests, endpoint),
        ),
        `--${boundary}--\r\n`,
      ].join("");
      const contentType = `multipart/form-data; boundary=${boundary}`;
      const { id } = await exchange.json({ method: "POST", path: "/files", body, contentType });
      return String(id);
    },
    async create(mark, endpoint, { file }) {
      const asked = {
        input_file_id: file,
        endpoint,
        completion_window: "24h",
        metadata: { [MARK]: mark.buyId },
      };
      return toBatch(await exchange.json({ method: "POST", path: "/batches", body: JSON.stringify(asked) }));
    },
    async find({ buyId, since }: BatchMark, file) {
      let after = "";
      for (let page = 0; page < MAX_PAGES; page++) {
        const path = `/batches?limit=${PAGE}${after && `&after=${after}`}`;
        const { data, has_more } = await exchange.json({ method: "GET", path });
        const found = Array.isArray(data) ? data.map(fieldsOf) : [];
        const own = found.filter(
          (one) =>
            fieldsOf(one.metadata)[MARK] === buyId || (file !== undefined && one.input_file_id === file),
        );
        if (own.length > 0) return { batches: own.map(toBatch), isSure: true };
        const last = found.at(-1);
        if (!has_more || !last || Number(last.created_at) * 1000 < since - CLOCK_SKEW_MS)
          return { batches: [], isSure: true };
        after = String(last.id);
      }
      throw tooMany(entry);
    },
    get,
    async cancel(id) {
      await exchange.json({ method: "POST", path: `/batches/${id}/cancel` });
    },
    async *results({ files }, callOf) {
      for (const file of files) {
        const text = await exchange.text({ method: "GET", path: `/files/${file}/content` });
        for (const line of text.split("\n")) if (line !== "") yield answerOf(entry, line, callOf);
      }
    },
    close: () => pool.close(),
  };
}

/** Nobody can tell whether a batch was made when the list of the account's batches does not end. */
export function tooMany({ name }: ProviderEntry): Error {
  return new Error(`the list of ${name}'s batches is too long to find one in`);
}

/** A batch has the headers of its own requests to the provider, none for each row. */
export function refuseHeaders({ name }: ProviderEntry, { wire }: ProviderCall): void {
  if (!wire?.headers && !wire?.query) return;
  throw new InvalidRequestError({
    code: "unsupported_parameter",
    message: `batches of ${name} carry no headers or query for their rows`,
    hint: "leave them out, or take the lane online",
  });
}

function linesOf(requests: readonly BatchRequest[], url: string): string {
  return requests
    .map(({ customId, body }) => `${JSON.stringify({ custom_id: customId, method: "POST", url, body })}\n`)
    .join("");
}

function toBatch(fields: Record<string, unknown>): ProviderBatch {
  const { id, status, output_file_id, error_file_id, created_at, expires_at } = fields;
  const { total, completed, failed } = fieldsOf(fields.request_counts);
  const faults = fieldsOf(fields.errors).data;
  const fault = fieldsOf(Array.isArray(faults) ? faults[0] : undefined);
  const endedAt = fields.completed_at ?? fields.expired_at ?? fields.cancelled_at ?? fields.failed_at;
  return {
    id: String(id),
    state: STATES[String(status)] ?? "in_progress",
    total: Number(total ?? 0),
    done: Number(completed ?? 0) + Number(failed ?? 0),
    createdAt: Number(created_at) * 1000,
    expiresAt: Number(expires_at ?? Number(created_at) + 86_400) * 1000,
    endedAt: endedAt == null ? undefined : Number(endedAt) * 1000,
    failure:
      status === "failed"
        ? { code: String(fault.code ?? "batch_failed"), message: String(fault.message ?? "the batch failed") }
        : undefined,
    files: [output_file_id, error_file_id].filter((file) => typeof file === "string"),
  };
}

const STATES: Record<string, ProviderBatch["state"]> = {
  completed: "ended",
  expired: "ended",
  cancelled: "ended",
  cancelling: "cancelling",
  failed: "failed",
};

function answerOf(
  entry: ProviderEntry,
  line: string,
  callOf: (customId: string) => ProviderCall,
): BatchAnswer {
  const { custom_id, response, error } = fieldsOf(parseJson(line));
  const customId = String(custom_id);
  const { code } = fieldsOf(error);
  if (code === "batch_expired") return { customId, unpaid: "expired" };
  if (code === "batch_cancelled") return { customId, unpaid: "cancelled" };
  const call = callOf(customId);
  const { status_code: status = 500, request_id, body } = fieldsOf(response);
  const statusCode = Number(status);
  const requestId = typeof request_id === "string" ? request_id : "";
  const headers = new Headers();
  if (statusCode >= 200 && statusCode < 300) {
    try {
      return { customId, reply: replyOf(entry, call, { statusCode, requestId, headers, data: body }) };
    } catch (fault) {
      return { customId, error: fault as InvalidRequestError };
    }
  }
  const fault = readFault({ status: statusCode, headers, error: body ?? error, requestID: requestId });
  if (fault) return { customId, error: toLLMError(fault, entry, call.model) };
  return { customId, error: unusableAnswer(entry, "its batch tells no reason", { statusCode, requestId }) };
}

function replyOf(
  entry: ProviderEntry,
  call: ProviderCall,
  answer: Parameters<typeof readChatAnswer>[0]["answer"],
): ProviderReply {
  const read = asksForEmbeddings(call.request)
    ? toEmbeddingsReply(entry, call, answer)
    : Array.isArray(fieldsOf(answer.data).choices)
      ? readChatAnswer({ entry, call, answer })
      : readResponseAnswer({ entry, call, answer });
  return { ...read, charged: { input: 0, output: 0 } };
}
