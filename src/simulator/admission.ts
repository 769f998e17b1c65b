import { chargeOf, type TokenCharge } from "./charge.ts";
import type { Refusal } from "./dialect.ts";
import type { AttemptOutcome } from "./fault-plan.ts";
import { faultRefusal, isErrorFault } from "./fault-refusal.ts";
import type { FaultKind } from "./faults.ts";
import type { OutageKind } from "./outage.ts";
import type { ReceivedCall } from "./received-call.ts";
import type { Simulation } from "./simulation.ts";

/** The errors that come from the model's side, after the call was charged. */
const CHARGED_ERRORS: readonly string[] = ["500", "503"];

/** What becomes of a call before it is answered; only an admitted call is charged. `isOutputDue`: its completion is charged when it is there. */
export type Admission =
  | { state: "admitted"; outcome: AttemptOutcome; charge: TokenCharge; isOutputDue: boolean }
  /** `fault`: the one that was injected. */
  | { state: "refused"; refusal: Refusal; fault?: FaultKind }
  | { state: "outage"; kind: OutageKind };

/**
 * Returns whether a call gets through: first an outage decides, then the request itself, then the limits, then the
 * injected faults. What gets through is charged. The limits come before the faults so that only admitted attempts count
 * for these, which keeps them repeatable whatever the rate.
 */
export function admit(
  { limits, faults, flex, outage, chargePolicy }: Simulation,
  received: ReceivedCall,
  account: string,
  nowMs: number,
): Admission {
  const outageKind = outage.kindAt(nowMs);
  if (outageKind) return { state: "outage", kind: outageKind };
  if (!received.call) return { state: "refused", refusal: received.refusal };
  const { call, answer, contentHash } = received;
  const charge = chargeOf(call, answer, chargePolicy);
  if (call.isFlex && !flex.hasRoom()) return { state: "refused", refusal: { kind: "no_flex_room" } };
  const isOutputDue = chargePolicy === "produced";
  const atOnce = isOutputDue ? { ...charge, completionTokens: 0 } : charge;
  const limit = limits.check(account, atOnce, nowMs);
  if (limit) return { state: "refused", refusal: { kind: "limit", model: call.model, limit } };
  const outcome = faults.next(contentHash, call.lastUserText, answer.error);
  const { fault } = outcome;
  if (fault && isErrorFault(fault.kind) && !CHARGED_ERRORS.includes(fault.kind)) {
    return { state: "refused", refusal: faultRefusal(fault.kind, fault, call.model), fault: fault.kind };
  }
  limits.charge(account, atOnce, nowMs);
  return { state: "admitted", outcome, charge, isOutputDue };
}
