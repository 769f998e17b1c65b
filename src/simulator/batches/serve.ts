import type { IncomingMessage, ServerResponse } from "node:http";
import { parseJson } from "../../shared/json.ts";
import { anthropicDialect } from "../anthropic/dialect.ts";
import type { Refusal } from "../dialect.ts";
import { sendJson } from "../http-answer.ts";
import { InvalidCallError } from "../invalid-call.ts";
import { keyDigest } from "../key-digest.ts";
import { openaiDialect } from "../openai/dialect.ts";
import { readBody } from "../request-body.ts";
import type { Simulation } from "../simulation.ts";
import { serveAnthropicBatches } from "./anthropic-routes.ts";
import { serveOpenAiBatches } from "./openai-routes.ts";

/** Both vendors take more than this; a test has no use for it. */
const MAX_BODY_BYTES = 256 * 1024 * 1024;
const OUTAGE: Refusal = { kind: "fault", fault: "503", model: "", retryAfterMs: undefined };

/** Returns whether a path is one of the vendors' batches and files. */
export function isBatchPath(path: string): boolean {
  return /^\/v1\/(files|batches|messages\/batches)(\/|$)/.test(path);
}

/** Serves the vendors' batches and files. They need no room in the limits of calls, but an outage ends them too. */
export async function serveBatches(
  { batches, outage }: Simulation,
  path: string,
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const parts = path.split("/").slice(2).map(decodeURIComponent);
  const isAnthropic = parts[0] === "messages";
  const dialect = isAnthropic ? anthropicDialect : openaiDialect;
  const outageKind = outage.kindAt(performance.now());
  if (outageKind === "hang") return;
  if (outageKind === "refuse") {
    response.destroy();
    return;
  }
  const refuse = (refusal: Refusal) => {
    const { status, headers, body } = dialect.errorAnswer(refusal, "req_simulator");
    sendJson(response, status, body, headers);
  };
  if (outageKind) return refuse(OUTAGE);
  const account = keyDigest(request) ?? "";
  const body = async () => {
    const bytes = await readBody(request, MAX_BODY_BYTES);
    const parsed = bytes instanceof Buffer ? parseJson(bytes.toString()) : undefined;
    if (parsed === undefined) throw new InvalidCallError("We could not parse the JSON body of your request.");
    return parsed;
  };
  try {
    if (isAnthropic)
      await serveAnthropicBatches(batches, account, parts.slice(2), query, request, response, body);
    else await serveOpenAiBatches(batches, account, parts, query, request, response, body);
  } catch (error) {
    if (!(error instanceof InvalidCallError)) throw error;
    const { message, param, status } = error;
    refuse({ kind: "invalid", message, param, status });
  } finally {
    request.resume();
  }
}
