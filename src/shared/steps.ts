import { z } from "zod";
import { byName } from "./by-name.ts";
import type { Message } from "./chat.ts";
import { InputError } from "./errors.ts";
import type { ToolExecution } from "./records.ts";
import { checkWith } from "./schema-check.ts";
import { toolNameSchema } from "./tool.ts";

/** The mark of steps, known across copies of this package: a worker and a module may have one each. */
const STEPS = Symbol.for("gluellm.steps");

/** Whether the model may, must not or must call a tool: `auto`, `none`, `required`, or the name of one that it must call. */
export type ToolChoice = "auto" | "none" | "required" | (string & {});

/** One answer of the model within a job, with what its tools brought. */
export interface Step {
  /** From 0. */
  number: number;
  /** The model, as `provider:model`. */
  model: string;
  text: string;
  finishReason: string | undefined;
  /** What the model called; what the calls brought is in `toolExecutions`. */
  toolCalls: readonly { id: string; name: string; arguments: string }[];
  toolExecutions: readonly ToolExecution[];
  tokensUsed: { prompt: number; completion: number; total: number; cached: number };
  /** In USD; null when no price is known. */
  costUsd: number | null;
}

/** What functions of steps are told. */
export interface StepsSoFar {
  steps: readonly Step[];
  /** The request's own. */
  context: Readonly<Record<string, unknown>>;
}

/** What one answer is asked for with; what is absent is as in the answers before. */
export interface PreparedStep {
  toolChoice?: ToolChoice;
  /** The names of the tools that the model is offered, of those that the call has. */
  tools?: readonly string[];
  /** The system prompt. */
  system?: string;
}

/** Functions that go along with a job's answers, in the worker. */
export interface StepFunctions {
  /** Whether the job ends here, after the tools of an answer have run: the model is not asked again. */
  stopWhen?: (soFar: StepsSoFar) => boolean | Promise<boolean>;
  /** What the next answer is asked for with. */
  prepareStep?: (
    next: StepsSoFar & { number: number; messages: readonly Message[] },
  ) => PreparedStep | undefined | Promise<PreparedStep | undefined>;
  /** Is told of every answer once its tools have run; what it throws is logged. */
  onStep?: (step: Step, soFar: StepsSoFar) => unknown;
}

/** Functions of steps under a name, by which jobs carry them; `defineSteps` makes them. */
export interface Steps extends StepFunctions {
  readonly name: string;
}

const functionSchema = z
  .custom<never>((value) => typeof value === "function", "must be a function")
  .optional();

/** The options of functions. */
export const stepFunctionOptions = {
  stopWhen: functionSchema,
  prepareStep: functionSchema,
  onStep: functionSchema,
};

const optionsSchema: z.ZodType<Steps> = z.strictObject({ name: toolNameSchema, ...stepFunctionOptions });

/**
 * Returns functions that go along with a job's answers: jobs carry the name, and workers load the code (`--module`).
 *
 * ```ts
 * export const careful = defineSteps({
 *   name: "careful",
 *   prepareStep: ({ number }) => (number === 0 ? { toolChoice: "search" } : undefined),
 *   stopWhen: ({ steps }) => steps.some(({ toolCalls }) => toolCalls.some(({ name }) => name === "hand_over")),
 * });
 * ```
 * @throws InputError naming the option that is unknown or wrong
 */
export function defineSteps(options: Steps): Steps {
  const what = `the steps "${(options as { name?: unknown } | undefined)?.name}"`;
  return Object.freeze({ [STEPS]: true, ...checkWith(optionsSchema, options, what, "are") });
}

export function isSteps(value: unknown): value is Steps {
  return typeof value === "object" && value !== null && STEPS in value;
}

/** Returns steps by their names. @throws InputError (`duplicate_steps`) when two of them share a name. */
export function stepsByName(all: Iterable<Steps>): Map<string, Steps> {
  const duplicate = ({ name }: Steps) =>
    new InputError(`two steps are called "${name}"`, "define each once", "duplicate_steps");
  return byName(all, ({ name }) => name, duplicate);
}

/** Adds steps. @throws InputError (`duplicate_steps`) when other ones have their name. */
export function addSteps(known: Map<string, Steps>, steps: Steps): void {
  stepsByName([...known.values(), steps]);
  known.set(steps.name, steps);
}

/** Returns a tool choice as a Chat Completions request has it. */
export function toRequestChoice(choice: ToolChoice): unknown {
  return ["auto", "none", "required"].includes(choice)
    ? choice
    : { type: "function", function: { name: choice } };
}
