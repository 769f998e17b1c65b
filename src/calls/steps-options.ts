import { randomUUID } from "node:crypto";
import { z } from "zod";
import { MAX_INLINE_BYTES } from "../shared/catalog.ts";
import { InputError } from "../shared/errors.ts";
import { asJson, isObject } from "../shared/json.ts";
import { nameOfOneCall } from "../shared/one-call-steps.ts";
import {
  isSteps,
  type StepFunctions,
  type Steps,
  stepFunctionOptions,
  type ToolChoice,
} from "../shared/steps.ts";

/** Options of what a call's answers are asked for with, one after the other. */
export interface StepsOptions extends StepFunctions {
  /**
   * Whether the model may, must not or must call a tool: `auto`, `none`, `required`, or a tool's name. What forces a
   * call holds for the first answer, the others are `auto`; a list says it for one answer each. Default `auto`.
   */
  toolChoice?: ToolChoice | readonly ToolChoice[];
  /**
   * Whether the oldest turns are left out of a request that is too long for its model: when it is refused for that, the
   * older half, as often as needed. With `maxTokens` a longer request (by estimate, about 4 bytes to a token) is not sent
   * at all. With `summary` the model first summarizes them, by a call of its own that is paid, and the summary takes their
   * place. What the call itself asks, and instructions, always stay. Default: the conversation's, else false.
   */
  trim?: TrimOption;
  /** Functions that go along with the answers (`defineSteps`), or the name of some that the workers have. Default: none. */
  steps?: Steps | string;
  /** What tools and steps are handed as `context`: a JSON object of at most 16 KiB that the model does not see. Default `{}`. */
  context?: Readonly<Record<string, unknown>>;
}

/** Whether the oldest turns may be left out of a request, to how many tokens, and whether a summary takes their place. */
export type TrimOption = boolean | TrimRules;

/** How a history is shortened; one of the two must be given. */
interface TrimRules {
  /** The most tokens of a request, by estimate. Default: as many as the model takes. */
  maxTokens?: number;
  /** Whether a summary takes the place of the oldest turns, and what the model is told for it in place of our words. Default false. */
  summary?: boolean | { instructions: string };
}

const MAX_INSTRUCTION_CHARS = 10_000;

const trimRulesSchema = z
  .strictObject({
    maxTokens: z.int().positive().optional(),
    summary: z
      .union([
        z.boolean(),
        z.strictObject({ instructions: z.string().trim().min(1).max(MAX_INSTRUCTION_CHARS) }),
      ])
      .optional(),
  })
  .refine((rules) => rules.maxTokens !== undefined || rules.summary, "must have maxTokens or summary");

export const trimOption: z.ZodType<TrimOption | undefined> = z
  .union([z.boolean(), trimRulesSchema])
  .optional();

/** Returns what a job carries of the option. */
function toTrim(option: TrimOption | undefined): StepsFields["trim"] {
  if (!option) return undefined;
  const { summary, ...rest } = option === true ? {} : option;
  return { ...rest, ...(summary && { summary: summary === true ? {} : summary }) };
}

const choiceSchema = z.string().min(1).max(64);

export const stepsOptions = {
  toolChoice: z.union([choiceSchema, z.array(choiceSchema).min(1).max(1000)]).optional(),
  steps: z
    .union([z.string().min(1), z.custom<Steps>(isSteps, "must be what defineSteps returns")])
    .optional(),
  trim: trimOption,
  context: z.custom<Record<string, unknown>>(isObject, "must be an object").optional(),
  ...stepFunctionOptions,
};

/** What a job carries of these options. */
interface StepsFields {
  toolChoices?: string[];
  trim?: { maxTokens?: number; summary?: { instructions?: string } };
  steps?: string;
  context?: Record<string, unknown>;
}

/**
 * Returns what a job carries of the options.
 * @param tools the names of the tools that the call has; undefined when only its worker knows them
 * @param offer gets the functions, for a worker of this process; absent: there is none
 * @throws InputError
 */
export function toStepsFields(
  options: StepsOptions,
  tools: readonly string[] | undefined,
  offer: ((steps: Steps) => void) | undefined,
): StepsFields {
  const { toolChoice, context, stopWhen, prepareStep, onStep } = options;
  const functions = Object.entries({ stopWhen, prepareStep, onStep }).filter(([, given]) => given);
  const [first] = functions;
  if (first && options.steps !== undefined) throw wrong(first[0], "the steps have it; give one or the other");
  if (first && !offer)
    throw wrong(first[0], "a function cannot go to workers elsewhere", "name it: defineSteps, and `steps`");
  const steps = first
    ? ({ name: nameOfOneCall(randomUUID()), ...Object.fromEntries(functions) } as Steps)
    : options.steps;
  if (typeof steps === "object") offer?.(steps);
  const trim = toTrim(options.trim);
  const choices = toolChoice === undefined ? undefined : [toolChoice].flat();
  for (const choice of choices ?? []) checkChoice(choice, tools);
  return {
    ...(choices && { toolChoices: choices }),
    ...(trim && { trim }),
    ...(steps !== undefined && { steps: typeof steps === "string" ? steps : steps.name }),
    ...(context && { context: checkedContext(context) }),
  };
}

function checkChoice(choice: ToolChoice, tools: readonly string[] | undefined): void {
  if (choice === "auto" || choice === "none" || !tools) return;
  if (tools.length === 0) throw wrong("toolChoice", "there are no tools");
  if (choice === "required" || tools.includes(choice)) return;
  throw wrong("toolChoice", `"${choice}" is no tool of the call; there are: ${tools.join(", ")}`);
}

function checkedContext(context: Readonly<Record<string, unknown>>): Record<string, unknown> {
  let json: Record<string, unknown>;
  try {
    json = asJson(context) as Record<string, unknown>;
  } catch {
    throw wrong("context", "JSON cannot hold it");
  }
  const bytes = Buffer.byteLength(JSON.stringify(json));
  if (bytes > MAX_INLINE_BYTES)
    throw wrong(
      "context",
      `it has ${bytes} bytes; the limit is ${MAX_INLINE_BYTES}`,
      "hand over ids, and let tools look up the rest",
    );
  return json;
}

function wrong(option: string, reason: string, hint?: string): InputError {
  return new InputError(`the options are wrong at ${option}: ${reason}`, hint);
}
