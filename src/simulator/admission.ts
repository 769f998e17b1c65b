import type { Refusal } from "./dialect.ts";
import type { Fate, Fault } from "./fault-plan.ts";
import { ERROR_FAULTS, type ErrorFault } from "./faults.ts";
import type { ReceivedCall } from "./received-call.ts";
import type { Simulation } from "./simulation.ts";

/** Errors that come from the model's side, after the call was charged. */
const CHARGED_ERRORS: readonly string[] = ["500", "503"];
const DEFAULT_RETRY_AFTER_MS = 1000;

export type Admission =
  | { fate: Fate; refusal?: undefined }
  /** Nothing was charged. `fault`: it was injected. */
  | { refusal: Refusal; fault?: Fault };

/**
 * Whether a call gets through: first the request itself, then the limits, then the injected faults; what gets
 * through is charged. The limits come first so that only admitted attempts count for the faults, which keeps them
 * repeatable whatever the rate.
 */
export function admit(
  { limits, faults }: Simulation,
  received: ReceivedCall,
  account: string,
  nowMs: number,
): Admission {
  if (!received.call) return { refusal: received.refusal };
  const { call, answer, contentHash } = received;
  const tokens = call.promptTokens + answer.completionTokens;
  const limit = limits.check(account, tokens, nowMs);
  if (limit) return { refusal: { kind: "limit", model: call.model, limit } };
  const fate = faults.next(contentHash, call.lastUserText);
  const { fault } = fate;
  if (fault && isErrorFault(fault.kind) && !CHARGED_ERRORS.includes(fault.kind)) {
    return { refusal: faultRefusal(fault.kind, fault, call.model), fault };
  }
  limits.charge(account, tokens, nowMs);
  return { fate };
}

export function isErrorFault(kind: string): kind is ErrorFault {
  return (ERROR_FAULTS as readonly string[]).includes(kind);
}

export function faultRefusal(kind: ErrorFault, { retryAfterMs }: Fault, model: string): Refusal {
  const overload = kind === "503" || kind === "529";
  const waitMs =
    kind === "429" ? (retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) : overload ? retryAfterMs : undefined;
  return { kind: "fault", fault: kind, model, retryAfterMs: waitMs };
}
