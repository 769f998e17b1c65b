import type { ServerResponse } from "node:http";
import type { SimulatedAnswer } from "./answer.ts";
import type { Call } from "./call.ts";
import type { AnswerIdentity, Dialect, Refusal } from "./dialect.ts";
import type { AttemptOutcome, Fault } from "./fault-plan.ts";
import { faultRefusal, isErrorFault } from "./fault-refusal.ts";
import { send, sendJson, sendStream, waitWhileOpen } from "./http-answer.ts";
import type { JournaledCall } from "./journal.ts";
import type { OutageKind } from "./outage.ts";
import type { Simulation } from "./simulation.ts";

const OUTAGE_REFUSAL: Refusal = { kind: "fault", fault: "503", model: "", retryAfterMs: undefined };

/** The faults that show in a stream, or come before it. */
const STREAMED_FAULTS: ReadonlySet<string> = new Set(["cut", "stream_error", "slow"]);

/** A call under way, admitted or refused. */
export interface Exchange {
  simulation: Simulation;
  dialect: Dialect;
  response: ServerResponse;
  entry: JournaledCall;
  limitHeaders: Record<string, string>;
  /** Whether the simulator itself ended the connection, by an injected fault. */
  dropped: boolean;
  /** Keeps the prompt's beginnings in the provider's cache. */
  keepPrompt: (() => void) | undefined;
  /** Charges the answer when it is there; undefined when it was charged before. */
  chargeOutput: (() => void) | undefined;
}

/** Answers a charged call after its latency, as its outcome says; gives up when the client goes away. */
export async function answerWhenDue(
  exchange: Exchange,
  call: Call,
  answer: SimulatedAnswer,
  outcome: AttemptOutcome,
): Promise<void> {
  const { response, simulation } = exchange;
  const { fault } = outcome;
  const cut = fault?.kind === "cut";
  const streams = call.stream && (!fault || STREAMED_FAULTS.has(fault.kind));
  const latencyMs = latencyOf(simulation, answer, outcome);
  if (!(await waitWhileOpen(response, streams ? latencyMs / 2 : latencyMs))) return;
  if (!fault) exchange.keepPrompt?.();
  if (!(fault && isErrorFault(fault.kind))) exchange.chargeOutput?.();
  if (fault && isErrorFault(fault.kind)) {
    sendError(exchange, faultRefusal(fault.kind, fault, call.model));
  } else if (fault?.kind === "stream_error" && !streams) {
    sendError(exchange, faultRefusal("529", fault, call.model));
  } else if (fault?.kind === "drop" || fault?.kind === "hang") {
    exchange.dropped = true;
    response.destroy();
  } else if (streams) {
    await streamAnswer(exchange, call, answer, fault, latencyMs / 2);
  } else {
    sendAnswer(exchange, call, answer, cut);
  }
}

/** Answers as the outage says, at once; a call that hangs is left to its client. */
export function meetOutage(exchange: Exchange, kind: OutageKind): void {
  if (kind === "503") sendError(exchange, OUTAGE_REFUSAL);
  if (kind !== "refuse") return;
  exchange.dropped = true;
  exchange.response.destroy();
}

export function sendError(exchange: Exchange, refusal: Refusal): void {
  const { dialect, response, entry } = exchange;
  const { status, headers, body } = dialect.errorAnswer(refusal, requestIdOf(entry));
  entry.status = status;
  sendJson(response, status, body, { ...headersOf(exchange), ...headers });
}

function sendAnswer(exchange: Exchange, call: Call, answer: SimulatedAnswer, cut: boolean): void {
  const { dialect, response, entry } = exchange;
  const text = JSON.stringify(dialect.answerBody(call, answer, identityOf(entry)));
  entry.status = 200;
  const sent = cut ? text.slice(0, text.length / 2) : text;
  send(response, 200, "application/json", sent, headersOf(exchange));
}

function streamAnswer(
  exchange: Exchange,
  call: Call,
  answer: SimulatedAnswer,
  fault: Fault | undefined,
  durationMs: number,
): Promise<void> {
  const { dialect, response, entry } = exchange;
  const { content, closing } = dialect.streamTexts(call, answer, identityOf(entry));
  entry.status = 200;
  const texts = fault?.kind === "cut" ? content : [...content, ...closing];
  if (fault?.kind === "stream_error") {
    const { body } = dialect.errorAnswer(faultRefusal("529", fault, call.model), requestIdOf(entry));
    texts.splice(Math.ceil(content.length / 2), Number.POSITIVE_INFINITY, dialect.errorEvent(body));
  }
  return sendStream(response, texts, durationMs, headersOf(exchange));
}

function latencyOf(
  { latency }: Simulation,
  answer: SimulatedAnswer,
  { fault, jitterShare }: AttemptOutcome,
): number {
  if (fault?.kind === "hang") return fault.hangMs;
  if (fault?.kind === "slow") return fault.latencyMs;
  return answer.latencyMs ?? Math.max(0, latency.latencyMs + (2 * jitterShare - 1) * latency.jitterMs);
}

function headersOf({ dialect, entry, limitHeaders }: Exchange): Record<string, string> {
  return { [dialect.requestIdHeader]: requestIdOf(entry), ...limitHeaders };
}

function identityOf(entry: JournaledCall): AnswerIdentity {
  return { requestId: requestIdOf(entry), createdAt: Math.floor(entry.at / 1000) };
}

function requestIdOf({ n }: JournaledCall): string {
  return `req_simulator_${n}`;
}
