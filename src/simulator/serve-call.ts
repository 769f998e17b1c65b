import type { IncomingMessage, ServerResponse } from "node:http";
import { type Admission, admit } from "./admission.ts";
import { answerWhenDue, type Exchange, meetOutage, sendError } from "./answer-call.ts";
import type { TokenCharge } from "./charge.ts";
import type { Dialect, Refusal } from "./dialect.ts";
import { sendJson } from "./http-answer.ts";
import type { JournaledCall } from "./journal.ts";
import { keyDigest } from "./key-digest.ts";
import { type ReceivedCall, receiveCall } from "./received-call.ts";
import { MAX_BODY_BYTES, readBody } from "./request-body.ts";
import type { Simulation } from "./simulation.ts";

const NO_CHARGE: TokenCharge = { promptTokens: 0, completionTokens: 0 };

/** Serves a model endpoint: read → admit (outage, limits, faults) → journal → wait → answer. */
export async function serveCall(
  simulation: Simulation,
  dialect: Dialect,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await readBody(request);
  if (body === undefined || response.closed) return;
  if (body === "too_large") {
    return refuse(dialect, response, { kind: "body_too_large", maxBytes: MAX_BODY_BYTES });
  }
  const received = receiveCall(dialect, body, simulation.answer);
  const key = keyDigest(request);
  const account = `${key}\n${received.call?.model ?? ""}`;
  const beginnings = received.call && simulation.promptCache?.read(account, received.body);
  if (received.call && beginnings) received.call.cachedTokens = beginnings.cachedTokens;
  const nowMs = performance.now();
  const at = performance.timeOrigin + nowMs;
  const admission = admit(simulation, received, account, nowMs);
  const entry = record(simulation, dialect, received, admission, key, at);
  const hasLimits = received.call && admission.state !== "outage";
  const limitHeaders = hasLimits ? dialect.limitHeaders(simulation.limits.read(account, nowMs), at) : {};
  const exchange: Exchange = {
    ...{ simulation, dialect, response, entry, limitHeaders },
    dropped: false,
    keepPrompt: beginnings?.keep,
    chargeOutput: outputCharge(simulation, admission, account),
  };
  watchEnd(exchange);
  if (admission.state === "refused") sendError(exchange, admission.refusal);
  else if (admission.state === "outage") meetOutage(exchange, admission.kind);
  else if (received.call) await answerWhenDue(exchange, received.call, received.answer, admission.outcome);
}

function outputCharge({ limits }: Simulation, admission: Admission, account: string) {
  if (admission.state !== "admitted" || !admission.isOutputDue) return undefined;
  const { completionTokens } = admission.charge;
  return () => limits.chargeOutput(account, completionTokens, performance.now());
}

/** Sends an error that is not journaled, since nothing was asked of a model. */
export function refuse(dialect: Dialect, response: ServerResponse, refusal: Refusal): void {
  const requestId = "req_simulator";
  const { status, headers, body } = dialect.errorAnswer(refusal, requestId);
  sendJson(response, status, body, { [dialect.requestIdHeader]: requestId, ...headers });
}

function record(
  { journal, statistics }: Simulation,
  dialect: Dialect,
  received: ReceivedCall,
  admission: Admission,
  key: string | null,
  at: number,
): JournaledCall {
  const fault = faultOf(admission);
  const admitted = admission.state === "admitted";
  const { promptTokens, completionTokens } = admitted ? admission.charge : NO_CHARGE;
  statistics.arrived(at);
  if (admitted) statistics.accepted(at, promptTokens, completionTokens);
  if (admission.state === "refused" && admission.refusal.kind === "limit") statistics.rateLimited(at);
  if (fault) statistics.fault(fault);
  return journal.arrived({
    at,
    key,
    model: received.call?.model ?? "",
    dialect: dialect.name,
    operation: received.call?.embeddings ? "embeddings" : "chat",
    contentHash: received.contentHash,
    lastUserText: preview(received.call?.lastUserText ?? ""),
    turn: received.call?.turn ?? 0,
    toolNames: received.call?.tools.map(({ name }) => name) ?? [],
    hasAnswerSchema: received.call?.answerSchema !== undefined,
    status: null,
    fault,
    promptTokens,
    completionTokens,
    cachedTokens: admitted ? (received.call?.cachedTokens ?? 0) : 0,
    lane: received.call?.isFlex ? "flex" : "online",
    batchId: null,
    customId: null,
  });
}

function faultOf(admission: Admission): JournaledCall["fault"] {
  if (admission.state === "outage") return "outage";
  return (admission.state === "refused" ? admission.fault : admission.outcome.fault?.kind) ?? null;
}

function watchEnd(exchange: Exchange): void {
  const { response, entry, simulation } = exchange;
  response.once("close", () => {
    const aborted = !response.writableFinished && !exchange.dropped;
    simulation.journal.finished(entry, performance.timeOrigin + performance.now(), aborted);
    simulation.statistics.finished(entry.status, aborted);
  });
}

/** Returns the begin of a text as a copy: a slice would keep the whole text of each journaled call in memory. */
function preview(text: string): string {
  return text.length <= 80 ? text : Buffer.from(text.slice(0, 80)).toString();
}
