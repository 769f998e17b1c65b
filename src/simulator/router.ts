import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { InputError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import { isLocalRequest } from "./access.ts";
import { anthropicDialect } from "./anthropic/dialect.ts";
import { isBatchPath, serveBatches } from "./batches/serve.ts";
import { control } from "./control.ts";
import type { Dialect } from "./dialect.ts";
import { send, sendJson } from "./http-answer.ts";
import { modelList } from "./model-list.ts";
import { openaiDialect } from "./openai/dialect.ts";
import { openaiEmbeddingsDialect } from "./openai/embeddings.ts";
import { openaiResponsesDialect } from "./openai/responses.ts";
import { readBody } from "./request-body.ts";
import { refuse, serveCall } from "./serve-call.ts";
import type { Simulation } from "./simulation.ts";

const CONTROL_PREFIX = "/_simulator/";
const MODEL_ENDPOINTS: Record<string, Dialect> = {
  "/v1/chat/completions": openaiDialect,
  "/v1/responses": openaiResponsesDialect,
  "/v1/embeddings": openaiEmbeddingsDialect,
  "/v1/messages": anthropicDialect,
};
const PAGES: Record<string, (response: ServerResponse) => void> = {
  "/": (response) => send(response, 200, "text/plain; charset=utf-8", FRONT_PAGE),
  "/v1/models": (response) => sendJson(response, 200, modelList()),
};
const FRONT_PAGE = `This is the GlueLLM provider simulator. No model is behind it: every answer is made up.

POST /v1/chat/completions   OpenAI Chat Completions
POST /v1/responses          OpenAI Responses
POST /v1/embeddings         OpenAI Embeddings
POST /v1/messages           Anthropic Messages
     /v1/files, /v1/batches OpenAI's batches; hours pass --batch-speed times faster
     /v1/messages/batches   Anthropic's
GET  /v1/models             any other model name is accepted too
GET  /_simulator/stats      counts
GET  /_simulator/series     counts by 100 ms, ?since=t for those from epoch millisecond t on
GET  /_simulator/journal    every call, ?since=n for those after number n
POST /_simulator/limits     {"rpm": 600, "tpm": null, "itpm": 50000, "otpm": 10000, "burstSeconds": 1}
POST /_simulator/faults     {"429": 0.02, "script": [{"match": "text", "times": 3, "fault": "500"}]}
POST /_simulator/latency    {"latencyMs": 200, "jitterMs": 50}
POST /_simulator/outage     {"forMs": 60000, "kind": "refuse"}; also 503 and hang; forMs 0 ends it
POST /_simulator/batches    {"durationMs": 60000, "expire": {"times": 1}, "loseCreateAnswers": 1, "tokenPool": 90000}
POST /_simulator/reset      journal, counts and buckets as at the start
`;

/** Serves all paths of one simulator. */
export function requestListener(simulation: Simulation): RequestListener {
  return (request, response) => {
    route(simulation, request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else refuse(openaiDialect, response, { kind: "internal", reason: String(error) });
    });
  };
}

async function route(
  simulation: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = "", url = "/" } = request;
  const [path = "", query = ""] = url.split("?", 2);
  if (!isLocalRequest(request)) {
    request.resume();
    return sendJson(response, 403, { error: "the simulator answers requests to and from loopback only" });
  }
  if (path.startsWith(CONTROL_PREFIX)) {
    const endpoint = `${method} ${path.slice(CONTROL_PREFIX.length)}`;
    return serveControl(simulation, endpoint, new URLSearchParams(query), request, response);
  }
  if (isBatchPath(path)) return serveBatches(simulation, path, new URLSearchParams(query), request, response);
  const dialect = MODEL_ENDPOINTS[path];
  if (dialect && method === "POST") return serveCall(simulation, dialect, request, response);
  request.resume();
  const page = PAGES[path];
  if (page && method === "GET") return page(response);
  const shape = dialect ?? (request.headers["anthropic-version"] ? anthropicDialect : openaiDialect);
  if (dialect || page) refuse(shape, response, { kind: "wrong_method", method, path });
  else refuse(shape, response, { kind: "no_such_path", path });
}

async function serveControl(
  simulation: Simulation,
  endpoint: string,
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await readBody(request);
  if (body === undefined) return;
  try {
    const answer = control(simulation, endpoint, query, parseBody(body));
    if (answer) sendJson(response, 200, answer);
    else sendJson(response, 404, { error: `no such endpoint: ${endpoint}` });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    sendJson(response, 400, { error: error.message, hint: error.hint });
  }
}

function parseBody(body: Buffer | "too_large"): unknown {
  if (body.length === 0) return {};
  const parsed = parseJson(body.toString());
  if (parsed === undefined) throw new InputError("the body is not valid JSON");
  return parsed;
}
