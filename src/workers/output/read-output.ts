import type { ChatCompletion } from "../../shared/chat.ts";
import { compileSchema } from "../../shared/compile-schema.ts";
import { MANY_DIGITS, parseExactly } from "../../shared/exact-json.ts";
import { isObject, parseJson } from "../../shared/json.ts";
import type { JsonSchema } from "../../shared/json-schema.ts";
import type { OutputMode, OutputSpec } from "../../shared/output-spec.ts";
import { findJson } from "./find-json.ts";
import { problemOf } from "./problem.ts";

/** `invalid`: not JSON, or not of the schema; `refused`: another round would not help. */
type OutputFault = "invalid" | "truncated" | "refused" | "empty";

export type OutputReading =
  | { ok: true; value: unknown; text: string }
  | { ok: false; fault: OutputFault; problem: string; text: string };

/** A structured answer, and what it has to fit in the worker where its caller's own schema decides the rest. */
export type CheckedOutput = OutputSpec & { check?: JsonSchema | undefined };

const MAX_SYNTAX_CHARS = 300;

/**
 * The value of a structured answer, checked against the schema; or what is wrong with it, in words for the model. `text`
 * is the answer as it came, without what the model thought; or its refusal. Among several values in a text the first that fits counts.
 * @throws InvalidRequestError `invalid_schema`.
 */
export function readOutput(
  body: ChatCompletion,
  spec: Pick<CheckedOutput, "name" | "schema" | "wrapped" | "check">,
  mode: OutputMode,
): OutputReading {
  const [choice] = body.choices;
  const { content, refusal, tool_calls: calls = [] } = choice?.message ?? {};
  const call = mode === "tool" ? calls.find((one) => one.function.name === spec.name) : undefined;
  const text = call?.function.arguments ?? (content || refusal || "");
  const failed = (fault: OutputFault, problem: string): OutputReading => ({
    ok: false,
    fault,
    problem,
    text,
  });
  if (choice?.finish_reason === "content_filter" || (refusal && !content))
    return failed("refused", "the answer was refused");
  if (choice?.finish_reason === "length")
    return failed("truncated", "the answer was cut off at the limit of its length");
  if (text.trim() === "") return failed("empty", "the answer is empty");
  const values = findJson(text);
  if (values.length === 0) return failed("invalid", `the answer is not JSON: ${syntaxFaultOf(text)}`);
  const check = spec.check ? compileSchema(spec.check, { ofZod: true }) : compileSchema(spec.schema);
  const readings = values.map((value) => ({ value, errors: check(value) }));
  const fitting = readings.find(({ errors }) => errors.length === 0);
  if (!fitting) return failed("invalid", problemOf(readings[0]?.errors ?? []));
  const { value } = fitting;
  return { ok: true, value: spec.wrapped && isObject(value) ? value.value : value, text };
}

/** Returns a structured answer as JSON, its numbers with the digits that the model wrote, which a double may not hold. */
export function outputText(
  body: ChatCompletion,
  { name, wrapped }: Pick<CheckedOutput, "name" | "wrapped">,
  value: unknown,
): string {
  const { content, tool_calls: calls = [] } = body.choices[0]?.message ?? {};
  const text = calls.find((one) => one.function.name === name)?.function.arguments ?? content ?? "";
  const plain = JSON.stringify(value);
  if (!MANY_DIGITS.test(text)) return plain;
  const written = findJson(text, parseJsonExactly)
    .map((one) => JSON.stringify(wrapped && isObject(one) ? one.value : one))
    .find((one) => one !== undefined && JSON.stringify(JSON.parse(one)) === plain);
  return written ?? plain;
}

function parseJsonExactly(text: string): unknown {
  return parseJson(text) === undefined ? undefined : parseExactly(text);
}

function syntaxFaultOf(text: string): string {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return (error as Error).message.slice(0, MAX_SYNTAX_CHARS);
  }
}
