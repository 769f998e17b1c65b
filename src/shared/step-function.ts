import { byName } from "./by-name.ts";
import { InputError } from "./errors.ts";

/** The mark of step functions, known across copies of this package: a worker and a module may have one each. */
const STEP_FUNCTION = Symbol.for("gluellm.step-function");

/** A piece of text that a retriever found. */
export interface RetrievedChunk {
  /** The text. */
  content: string;
  /** The place where it stands, for citing: a file, an address. */
  source: string;
}

export type StepFunctionKind = "retriever" | "evaluator" | "reward" | "environment";

/** Code of the user's own that workflows call by its name; workers load it from a module (`--module`). */
export interface StepFunction {
  readonly kind: StepFunctionKind;
  readonly name: string;
  run(args: never, signal: AbortSignal): unknown;
}

const NAME = /^[A-Za-z0-9_.-]{1,64}$/;

/**
 * Returns a retriever, which finds at most `maxChunks` texts on a question, the best first.
 *
 * ```ts
 * export const docs = defineRetriever("docs", async ({ query, maxChunks }) => index.search(query).slice(0, maxChunks));
 * ```
 * @throws InputError for a name that cannot be
 */
export function defineRetriever(
  name: string,
  retrieve: (
    question: { query: string; maxChunks: number },
    signal: AbortSignal,
  ) => readonly RetrievedChunk[] | Promise<readonly RetrievedChunk[]>,
): StepFunction {
  return defineStepFunction("retriever", name, retrieve);
}

/**
 * Returns an evaluator, which scores a text from 0 to 1.
 * @throws InputError for a name that cannot be
 */
export function defineEvaluator(
  name: string,
  evaluate: (subject: { input: string; output: string }, signal: AbortSignal) => number | Promise<number>,
): StepFunction {
  return defineStepFunction("evaluator", name, evaluate);
}

/** Returns a function of a kind under a name, with further fields. @throws InputError for a name that cannot be */
export function defineStepFunction<Fields extends object = object>(
  kind: StepFunctionKind,
  name: string,
  run: StepFunction["run"],
  fields = {} as Fields,
): StepFunction & Readonly<Fields> {
  if (!NAME.test(name)) {
    throw new InputError(`"${name}" cannot name a ${kind}`, "use 1 to 64 letters, digits, _, - or .");
  }
  return Object.freeze({ ...fields, [STEP_FUNCTION]: true, kind, name, run });
}

export function isStepFunction(value: unknown): value is StepFunction {
  return typeof value === "object" && value !== null && STEP_FUNCTION in value;
}

/** Returns the name by which a workflow calls a function: `retriever:docs`. */
export function referenceTo({ kind, name }: Pick<StepFunction, "kind" | "name">): string {
  return `${kind}:${name}`;
}

/** Returns functions by reference. @throws InputError (`duplicate_function`) when two of a kind share a name. */
export function stepFunctionsByName(functions: Iterable<StepFunction>): Map<string, StepFunction> {
  const duplicate = ({ kind, name }: StepFunction) =>
    new InputError(`two ${kind}s are called "${name}"`, undefined, "duplicate_function");
  return byName(functions, referenceTo, duplicate);
}

/** Adds functions to those that a worker of this process has. @throws InputError (`duplicate_function`), with none added */
export function addStepFunctions(known: Map<string, StepFunction>, functions: readonly StepFunction[]): void {
  for (const [reference, one] of stepFunctionsByName([...known.values(), ...functions]))
    known.set(reference, one);
}
