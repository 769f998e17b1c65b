import { MAX_REQUEST_BYTES } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { type LaneName, laneSchema } from "../shared/records.ts";
import { readTokenUse, type TokenUse } from "../shared/token-use.ts";
import type { InlineResult } from "../store/completed-record.ts";
import { bodyOf, type Endpoint, formatOf, type OutputFormat } from "./answer-forms.ts";

const ID_PREFIX = "batch_req_";
/** The most bytes that are read of a line: an answer may be larger than a request. */
export const MAX_OUTPUT_LINE_BYTES = 8 * MAX_REQUEST_BYTES;

/** A row's line in the output, in OpenAI's batch output format: JSON without a line end. */
export function outputLine(
  row: { id: string; customId: string; endpoint?: Endpoint },
  record: InlineResult,
): string {
  const head = { id: ID_PREFIX + row.id, custom_id: row.customId };
  if (record.status === "succeeded" && record.response) {
    const { statusCode, requestId, body } = record.response;
    return JSON.stringify({
      ...head,
      response: {
        status_code: statusCode,
        request_id: requestId,
        body: bodyOf(body, row.endpoint ?? "chat"),
      },
      error: null,
      ...(record.fromCache && { from_cache: true }),
      ...(record.lane && { lane: record.lane }),
    });
  }
  const { providerMessage: provider_message } = record;
  const { code, message, hint, status, providerRequestId } = record.error ?? {
    code: record.status,
    message: `the row was ${record.status}`,
  };
  const response =
    status === undefined
      ? null
      : { status_code: status, request_id: providerRequestId ?? "", body: { error: { code, message } } };
  const error = { code, message, hint, provider_message, attempts: record.attempts };
  return JSON.stringify({ ...head, response, error });
}

/** The output line of a row that never became a request. */
export function malformedLine(
  row: { id: string; customId: string },
  { code, message, hint }: { code: string; message: string; hint: string },
): string {
  const error = { code, message, hint, attempts: 0 };
  return JSON.stringify({ id: ID_PREFIX + row.id, custom_id: row.customId, response: null, error });
}

/** What an earlier run's line says. */
export interface EarlierResult {
  id: string;
  format: OutputFormat;
  customId: unknown;
  failed: boolean;
  tokens: TokenUse;
  fromCache: boolean;
  /** How it was bought, where that was not online. */
  lane: LaneName | undefined;
}

/** Undefined when the line is none of ours. */
export function parseOutputLine(text: string): EarlierResult | undefined {
  const fields = fieldsOf(parseJson(text));
  const id = /^batch_req_([0-9a-f]{32})$/.exec(String(fields.id))?.[1];
  if (!id) return undefined;
  const format = formatOf(fields);
  const { error = format === "gemini" ? null : undefined, key, custom_id = key } = fields;
  const result = fieldsOf(fields.result);
  const failed = format === "anthropic" ? result.type !== "succeeded" : error !== null || !fields.response;
  const fromCache = !failed && fields.from_cache === true;
  // The usage of an answer from the cache is what it cost somebody else.
  const tokens = readTokenUse(failed || fromCache ? undefined : usageOf(format, fields));
  const lane = failed ? undefined : laneSchema.safeParse(fields.lane).data;
  return { id, format, customId: custom_id, failed, tokens, fromCache, lane };
}

/** The usage of a line, in the words of a chat.completion. */
function usageOf(format: OutputFormat, fields: Record<string, unknown>): unknown {
  const response = fieldsOf(fields.response);
  if (format === "gemini") {
    const { promptTokenCount, candidatesTokenCount, totalTokenCount, cachedContentTokenCount } = fieldsOf(
      response.usageMetadata,
    );
    return {
      prompt_tokens: promptTokenCount,
      completion_tokens: candidatesTokenCount,
      total_tokens: totalTokenCount,
      prompt_tokens_details: { cached_tokens: cachedContentTokenCount },
    };
  }
  const body = fieldsOf(format === "anthropic" ? fieldsOf(fields.result).message : response.body);
  const usage = fieldsOf(body.usage);
  if (!("input_tokens" in usage)) return usage;
  const read = Number(usage.cache_read_input_tokens ?? 0);
  const written = Number(usage.cache_creation_input_tokens ?? 0);
  const { cached_tokens = read } = fieldsOf(usage.input_tokens_details);
  return {
    prompt_tokens: Number(usage.input_tokens) + read + written,
    completion_tokens: usage.output_tokens,
    prompt_tokens_details: { cached_tokens, cache_write_tokens: written },
  };
}

/** The line under another custom_id: rows without one are called by their line number, which may have changed. */
export function relabelled(text: string, customId: string): string {
  const fields = fieldsOf(parseExactly(text));
  return JSON.stringify({ ...fields, [formatOf(fields) === "gemini" ? "key" : "custom_id"]: customId });
}
