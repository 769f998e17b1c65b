import type { Refusal } from "./dialect.ts";
import type { Fault } from "./fault-plan.ts";
import { ERROR_FAULTS, type ErrorFault } from "./faults.ts";

const DEFAULT_RETRY_AFTER_MS = 1000;

export function isErrorFault(kind: string): kind is ErrorFault {
  return (ERROR_FAULTS as readonly string[]).includes(kind);
}

export function faultRefusal(kind: ErrorFault, { retryAfterMs }: Fault, model: string): Refusal {
  const overload = kind === "503" || kind === "529";
  const waitMs =
    kind === "429" ? (retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) : overload ? retryAfterMs : undefined;
  return { kind: "fault", fault: kind, model, retryAfterMs: waitMs };
}
