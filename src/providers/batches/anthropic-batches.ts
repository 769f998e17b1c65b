import { LANE_PRICE_SHARE } from "../../shared/cost.ts";
import { InvalidRequestError } from "../../shared/errors.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import type { ProviderEntry } from "../../shared/providers.ts";
import { providerOptionsFor } from "../../shared/wire-options.ts";
import { readMessageAnswer } from "../anthropic-answer.ts";
import { apiVersionFor, toMessagesRequest } from "../anthropic-request.ts";
import { readFault } from "../fault.ts";
import type { HttpPool } from "../http-pool.ts";
import type { ProviderCall } from "../provider.ts";
import { toLLMError, unusableAnswer } from "../provider-errors.ts";
import { BatchExchange } from "./exchange.ts";
import { refuseHeaders, tooMany } from "./openai-batches.ts";
import {
  type BatchAnswer,
  type BatchMark,
  CLOCK_SKEW_MS,
  type ProviderBatch,
  type ProviderBatches,
} from "./provider-batches.ts";

const PATH = "/v1/messages/batches";
const MAX_PAGES = 20;
const PAGE = 100;

/** Returns the batches of Anthropic's Messages. Source: https://docs.anthropic.com/en/docs/build-with-claude/batch-processing */
export function createAnthropicBatches(entry: ProviderEntry, pool: HttpPool): ProviderBatches {
  const exchange = new BatchExchange(entry, pool);
  const headers = { "anthropic-version": apiVersionFor({ messages: [] }) };
  return {
    maxRequests: 100_000,
    // Of 256 MB that Anthropic takes, so much fits into memory and into one answer.
    maxBytes: 48 * 1024 * 1024,
    priceShare: LANE_PRICE_SHARE,
    // The version is a header of the whole batch.
    endpointOf: ({ request }) => apiVersionFor(request),
    bodyOf: (call) => {
      refuseHeaders(entry, call);
      const { model, request, wire } = call;
      const providerOptions = providerOptionsFor(entry, wire);
      if (providerOptions?.betas)
        throw new InvalidRequestError({
          code: "unsupported_parameter",
          message: `batches of ${entry.name} carry no betas for their rows`,
          hint: "take the lane online for them",
        });
      return toMessagesRequest({ entry, model, request, providerOptions });
    },
    async create(_mark, endpoint, { requests }) {
      const body = JSON.stringify({
        requests: requests.map(({ customId, body: params }) => ({ custom_id: customId, params })),
      });
      const asked = { method: "POST", path: PATH, body, headers: { "anthropic-version": endpoint } } as const;
      return toBatch(await exchange.json(asked));
    },
    async newest() {
      const { data } = await exchange.json({ method: "GET", path: `${PATH}?limit=1`, headers });
      const [first] = Array.isArray(data) ? data : [];
      return first && toBatch(fieldsOf(first)).id;
    },
    async find({ since, requests, after }: BatchMark) {
      const fitting = new Map<string, ProviderBatch>();
      let cursor = "";
      for (let page = 0; page < MAX_PAGES; page++) {
        const path = `${PATH}?limit=${PAGE}${cursor && `&after_id=${cursor}`}`;
        const { data, has_more, last_id } = await exchange.json({ method: "GET", path, headers });
        for (const one of Array.isArray(data) ? data : []) {
          const batch = toBatch(fieldsOf(one));
          // By its place in the list, since clocks differ; by its time where that batch is gone.
          if (batch.id === after || batch.createdAt < since - CLOCK_SKEW_MS)
            return { batches: [...fitting.values()], isSure: false };
          if (batch.total === requests) fitting.set(batch.id, batch);
        }
        if (!has_more) return { batches: [...fitting.values()], isSure: false };
        cursor = String(last_id);
      }
      throw tooMany(entry);
    },
    get: async (id) => toBatch(await exchange.json({ method: "GET", path: `${PATH}/${id}`, headers })),
    async cancel(id) {
      await exchange.json({ method: "POST", path: `${PATH}/${id}/cancel`, headers });
    },
    async *results({ id }, callOf) {
      // Not at the address that the batch names: the key goes to the entry's server alone.
      const text = await exchange.text({ method: "GET", path: `${PATH}/${id}/results`, headers });
      for (const line of text.split("\n")) if (line !== "") yield answerOf(entry, line, callOf);
    },
    close: () => pool.close(),
  };
}

function toBatch(fields: Record<string, unknown>): ProviderBatch {
  const { id, processing_status, created_at, expires_at, ended_at } = fields;
  const { processing, ...done } = fieldsOf(fields.request_counts);
  const doneRows = Object.values(done).reduce((sum: number, count) => sum + Number(count), 0);
  return {
    id: String(id),
    state:
      processing_status === "ended"
        ? "ended"
        : processing_status === "canceling"
          ? "cancelling"
          : "in_progress",
    total: Number(processing ?? 0) + doneRows,
    done: doneRows,
    createdAt: Date.parse(String(created_at)),
    expiresAt: Date.parse(String(expires_at)),
    endedAt: ended_at == null ? undefined : Date.parse(String(ended_at)),
    failure: undefined,
    files: [],
  };
}

function answerOf(
  entry: ProviderEntry,
  line: string,
  callOf: (customId: string) => ProviderCall,
): BatchAnswer {
  const { custom_id, result } = fieldsOf(parseJson(line));
  const customId = String(custom_id);
  const { type, message, error } = fieldsOf(result);
  if (type === "expired") return { customId, unpaid: "expired" };
  if (type === "canceled") return { customId, unpaid: "cancelled" };
  const call = callOf(customId);
  const answer = {
    statusCode: 200,
    requestId: String(fieldsOf(message).id ?? ""),
    headers: new Headers(),
    data: message,
  };
  if (type === "succeeded") {
    try {
      const reply = readMessageAnswer({ entry, call, answer });
      return { customId, reply: { ...reply, charged: { input: 0, output: 0 } } };
    } catch (fault) {
      return { customId, error: fault as InvalidRequestError };
    }
  }
  // An error's status is known by its word, as in a stream.
  const fault = readFault({ headers: new Headers(), error: error ?? {} });
  if (fault) return { customId, error: toLLMError(fault, entry, call.model) };
  return { customId, error: unusableAnswer(entry, "its batch tells no reason", answer) };
}
