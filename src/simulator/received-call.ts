import { sha256 } from "../shared/digest.ts";
import { nestsTooDeep, parseJson } from "../shared/json.ts";
import { answerTo, type SimulatedAnswer } from "./answer.ts";
import type { Call } from "./call.ts";
import type { Dialect, Refusal } from "./dialect.ts";
import type { AnswerScript } from "./directive.ts";
import { InvalidCallError } from "./invalid-call.ts";
import { requestHash } from "./request-hash.ts";

/** A request as read from its bytes; the answer it will get is known at once. */
export type ReceivedCall = { contentHash: string } & (
  | { call: Call; answer: SimulatedAnswer; body: unknown }
  | { call?: undefined; refusal: Refusal }
);

/** Returns the request with its answer. It never throws: what cannot be read becomes a refusal. */
export function receiveCall(dialect: Dialect, bytes: Uint8Array, script?: AnswerScript): ReceivedCall {
  let contentHash: string | undefined;
  try {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
    if (nestsTooDeep(text)) throw new InvalidCallError("The body is nested more than 200 levels deep.");
    const body = parseJson(text);
    if (body === undefined) throw new InvalidCallError("We could not parse the JSON body of your request.");
    contentHash = requestHash(body);
    const call = dialect.readCall(body);
    return { contentHash, call, answer: answerTo(call, contentHash, script), body };
  } catch (error) {
    return { contentHash: contentHash ?? sha256(bytes), refusal: refusalOf(error) };
  }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof InvalidCallError)
    return { kind: "invalid", message: error.message, param: error.param };
  return { kind: "internal", reason: String(error) };
}
