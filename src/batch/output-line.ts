import { parseExactly } from "../shared/exact-json.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { readTokenUse, type TokenUse } from "../shared/token-use.ts";
import type { InlineResult } from "../store/completed-record.ts";

const ID_PREFIX = "batch_req_";

/** A row's line in the output, in OpenAI's batch output format: JSON without a line end. */
export function outputLine(row: { id: string; customId: string }, record: InlineResult): string {
  const head = { id: ID_PREFIX + row.id, custom_id: row.customId };
  if (record.status === "succeeded" && record.response) {
    const { statusCode, requestId, body } = record.response;
    return JSON.stringify({
      ...head,
      response: { status_code: statusCode, request_id: requestId, body },
      error: null,
      ...(record.fromCache && { from_cache: true }),
    });
  }
  const { code, message, hint, status, providerRequestId } = record.error ?? {
    code: record.status,
    message: `the row was ${record.status}`,
  };
  const response =
    status === undefined
      ? null
      : { status_code: status, request_id: providerRequestId ?? "", body: { error: { code, message } } };
  return JSON.stringify({ ...head, response, error: { code, message, hint, attempts: record.attempts } });
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
  customId: unknown;
  failed: boolean;
  tokens: TokenUse;
  fromCache: boolean;
}

interface OutputFields {
  id?: unknown;
  custom_id?: unknown;
  response?: { body?: { usage?: unknown } } | null;
  error?: unknown;
  from_cache?: unknown;
}

/** Undefined when the line is none of ours. */
export function parseOutputLine(text: string): EarlierResult | undefined {
  const fields: OutputFields = fieldsOf(parseJson(text));
  const id = /^batch_req_([0-9a-f]{32})$/.exec(String(fields.id))?.[1];
  if (!id) return undefined;
  const failed = fields.error !== null || !fields.response;
  const fromCache = !failed && fields.from_cache === true;
  // The usage of an answer from the cache is what it cost somebody else.
  const tokens = readTokenUse(failed || fromCache ? undefined : fields.response?.body?.usage);
  return { id, customId: fields.custom_id, failed, tokens, fromCache };
}

/** The line under another custom_id: rows without one are called by their line number, which may have changed. */
export function relabelled(text: string, customId: string): string {
  return JSON.stringify({ ...(parseExactly(text) as OutputFields), custom_id: customId });
}
