import type { fromErrorRecord } from "../shared/error-record.ts";
import { NonDeterminismError } from "../shared/errors.ts";
import type { AskedEntry, StepKind } from "../store/run-journal.ts";
import type { Effect } from "./effect.ts";
import type { Listeners } from "./listeners.ts";

/** What a function asks for. */
export interface StepRequest {
  /** Unique in the run: scope, name and occurrence. */
  id: string;
  kind: StepKind;
  digest: string;
  subject?: string;
  effect: Effect;
  /** Who listens to its promise. */
  listeners: Listeners;
}

/** One step of a running function. */
export interface OpenStep extends StepRequest {
  /** Once the journal has it; a local step has no such entry. */
  asked?: AskedEntry;
  /** The entries that the function had seen when it asked. */
  askedAt: number;
  isDispatched: boolean;
  isEnded: boolean;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/** Returned, thrown, or the input with which its run goes on as new. */
export type RunOutcome = { value: unknown } | { error: unknown } | { next: unknown };

/** What a record says of a step that did not succeed. */
type StoredFault = Parameters<typeof fromErrorRecord>[0];

export class StoredError {
  readonly record: StoredFault;

  constructor(record: StoredFault) {
    this.record = record;
  }
}

type Recorded = Pick<AskedEntry, "kind" | "subject"> & { digest?: string };

const HINT = "give the run code that fits, guard the change with ctx.patch(), or fork the run";

export function changed(entry: Recorded, step: OpenStep): NonDeterminismError {
  const show = ({ kind, subject, digest }: Recorded) =>
    [kind, subject, digest && `input ${digest}`].filter((part) => part !== undefined).join(" ");
  return new NonDeterminismError({
    message: `step "${step.id}" has changed: recorded ${show(entry)}, current ${show(step)}`,
    hint: HINT,
    context: { step: step.id },
  });
}

export function missing(
  id: string,
  what: string,
  { outcome, steps }: { outcome: RunOutcome | undefined; steps: ReadonlyMap<string, OpenStep> },
): NonDeterminismError {
  const open = [...steps.values()].filter((step) => !step.asked);
  const asked = open.slice(0, 3).map((step) => `"${step.id}"`);
  const current = outcome
    ? "the function has ended"
    : asked.length > 0
      ? `the code asks for ${asked.join(", ")}`
      : "the code does not ask for it";
  return new NonDeterminismError({
    message: `step "${id}" is missing: recorded ${what}, current ${current}`,
    hint: HINT,
    context: { step: id },
  });
}
