import type { Message } from "../../shared/chat.ts";
import { StructuredOutputError } from "../../shared/errors.ts";
import type { OutputMode } from "../../shared/output-spec.ts";
import type { FinishedCall } from "../../store/finished-call.ts";
import { type CheckedOutput, type OutputReading, readOutput } from "./read-output.ts";
import { repairMessages } from "./repair-messages.ts";

/** What follows from a structured answer: it stands, it is shown to the model again, or it is asked for at more length. */
type Round =
  | { kind: "fits"; value: unknown }
  | { kind: "repair"; messages: Message[] }
  | { kind: "longer"; maxTokens: number };

interface AnswerLimits {
  /** The most tokens that the answer could have; undefined where that is the model's own limit. */
  inForce: number | undefined;
  /** The most that it may have when it is asked for again; undefined where that is no more. */
  longest: number | undefined;
}

/**
 * Returns what follows from a structured answer. One that was cut off would be cut off there again, however well its
 * fault is explained to the model: only a higher limit helps.
 * @throws StructuredOutputError when nothing does
 */
export function checkOutput(
  { body, entry }: Pick<FinishedCall, "body" | "entry">,
  output: CheckedOutput,
  mode: OutputMode,
  { inForce, longest }: AnswerLimits,
  { repairs }: { repairs: number },
): Round {
  const reading = readOutput(body, output, mode);
  if (reading.ok) return { kind: "fits", value: reading.value };
  if (reading.fault === "truncated") {
    if (longest !== undefined) return { kind: "longer", maxTokens: longest };
    throw cutOff(reading, inForce);
  }
  if (reading.fault === "refused" || repairs >= output.maxRepairs) throw outputError(reading);
  return { kind: "repair", messages: repairMessages(body, reading.problem, mode, output.name, entry) };
}

type Failure = OutputReading & { ok: false };

function cutOff({ text, problem }: Failure, inForce: number | undefined): StructuredOutputError {
  const limit = inForce === undefined ? "the limit of the model" : `its limit of ${inForce} tokens`;
  return new StructuredOutputError({
    message: `the structured answer was cut off at ${limit}; it is not asked for again, since it would be cut off there again`,
    hint: "allow a longer answer with `maxTokens`, or ask for less in one answer",
    rejected: { text, problem },
  });
}

const HINTS = {
  invalid: "see the error's `rejected`; simplify the schema, describe its fields, or take a stronger model",
  empty: "take another model, or another `outputMode`",
  refused: "the provider's filter or the model refused; change the prompt",
};

function outputError({ fault, text, problem }: Failure): StructuredOutputError {
  return new StructuredOutputError({
    message: `the structured answer is ${fault}, and so were its repairs, if any`,
    hint: HINTS[fault as keyof typeof HINTS],
    rejected: { text, problem },
  });
}
