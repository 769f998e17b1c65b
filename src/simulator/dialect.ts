import type { SimulatedAnswer } from "./answer.ts";
import type { Call } from "./call.ts";
import type { ErrorFault } from "./faults.ts";
import type { LimitReadings, LimitRefusal } from "./limits.ts";

/** The reason why a request gets an error. */
export type Refusal =
  | { kind: "fault"; fault: ErrorFault; model: string; retryAfterMs: number | undefined }
  | { kind: "limit"; model: string; limit: LimitRefusal }
  | { kind: "invalid"; message: string; param?: string | undefined; status?: 400 | 404 }
  | { kind: "no_flex_room" }
  | { kind: "body_too_large"; maxBytes: number }
  | { kind: "no_such_path"; path: string }
  | { kind: "wrong_method"; method: string; path: string }
  | { kind: "internal"; reason: string };

/** An error in a vendor's words. */
export interface ErrorAnswer {
  status: number;
  headers: Record<string, string>;
  body: object;
}

/** Names and times that the simulator gives an answer. */
export interface AnswerIdentity {
  requestId: string;
  /** The time in epoch seconds. */
  createdAt: number;
}

/** The SSE texts of a streamed answer; without `closing` it has broken off before its finish reason. */
export interface StreamTexts {
  content: string[];
  closing: string[];
}

/** How one vendor speaks HTTP. All functions are pure. */
export interface Dialect {
  name: "openai" | "anthropic";
  requestIdHeader: string;
  /** Returns the call in a body. @throws InvalidCallError when the vendor would not accept it. */
  readCall(body: unknown): Call;
  answerBody(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): object;
  streamTexts(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): StreamTexts;
  /** Returns an error's body as an event of a stream that has begun. */
  errorEvent(body: object): string;
  errorAnswer(refusal: Refusal, requestId: string): ErrorAnswer;
  limitHeaders(readings: LimitReadings, nowEpochMs: number): Record<string, string>;
}
