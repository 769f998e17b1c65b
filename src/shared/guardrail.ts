import { z } from "zod";
import { byName } from "./by-name.ts";
import type { Message } from "./chat.ts";
import { InputError } from "./errors.ts";
import { checkWith } from "./schema-check.ts";
import { toolNameSchema } from "./tool.ts";

/** The mark of guardrails, known across copies of this package: a worker and a module may have one each. */
const GUARDRAIL = Symbol.for("gluellm.guardrail");

const guardrailStages = ["pre", "parallel", "post", "tool", "toolResult"] as const;
/**
 * When a guardrail is asked. `pre`: before the first call of the model; `parallel`: beside it, whose answer is not used before;
 * `post`: of the model's last answer; `tool`: before a tool is run; `toolResult`: before the model reads what a tool brought.
 */
export type GuardrailStage = (typeof guardrailStages)[number];

/** What a guardrail looks at. */
export interface GuardrailSubject {
  stage: GuardrailStage;
  /** The text: of the last message of the user, of the answer, of a tool's arguments as JSON, of what a tool brought. */
  text: string;
  /** At `pre` and `parallel` the messages that the call itself asks, without its system prompt; else none. */
  messages: readonly Message[];
  /** At `tool` and `toolResult` the name of the tool, and the arguments of the call. */
  toolName?: string | undefined;
  arguments?: unknown;
  /** The agent whose turn it is; absent for a job without one. */
  agent?: string | undefined;
  jobId: string;
  /** The `context` of the call; `{}` when it has none. */
  context: Readonly<Record<string, unknown>>;
  /** A signal that aborts at the guardrail's timeout, and with its job. */
  signal: AbortSignal;
  /**
   * Asks a model and returns its text: within the account's limits, paid once, and part of the job's cost.
   * @throws what a call of a model throws; the job is tried again then
   */
  ask(question: string, options?: GuardrailQuestion): Promise<string>;
}

/** Options of a question that a guardrail asks a model. */
export interface GuardrailQuestion {
  /** The model as `provider:model`; default: the job's. */
  model?: string | undefined;
  /** What it is told before. */
  system?: string;
  /** The longest answer, in tokens; default: the provider's. */
  maxTokens?: number;
}

/** What a guardrail says. `value` of a rewrite takes the place of what was looked at. */
export type GuardrailVerdict =
  | { action: "allow" }
  | { action: "block"; reason: string }
  | { action: "flag"; reason: string }
  /** A text; at `pre` also the messages, at `tool` the arguments. */
  | { action: "rewrite"; value: unknown; reason?: string };

/** Options of a guardrail. */
export interface GuardrailOptions {
  /** Its name: 1 to 64 letters, digits, `-` or `_`. */
  name: string;
  stage: GuardrailStage;
  /** Looks at the subject; nothing returned allows it. What it throws is tried again, and fails the job in the end. */
  check: (subject: GuardrailSubject) => GuardrailVerdict | undefined | Promise<GuardrailVerdict | undefined>;
  /** `shadow`: it is asked, recorded and counted, and nothing follows from what it says. Default `enforce`. */
  mode?: "enforce" | "shadow";
  /** The longest look, in milliseconds; default 30,000. */
  timeoutMs?: number;
  /** What follows when `check` itself fails: the attempt does, or it counts as allowed; default `fail`. */
  onError?: "fail" | "allow";
}

/** A rule on what goes to a model and what comes of it; `defineGuardrail` makes one. Jobs carry its name. */
export interface Guardrail extends Required<Omit<GuardrailOptions, "mode">> {
  readonly mode: "enforce" | "shadow";
}

const optionsSchema = z.strictObject({
  name: toolNameSchema,
  stage: z.enum(guardrailStages),
  check: z.custom<Guardrail["check"]>((value) => typeof value === "function", "must be a function"),
  mode: z.enum(["enforce", "shadow"]).default("enforce"),
  timeoutMs: z.int().min(1).max(600_000).default(30_000),
  onError: z.enum(["fail", "allow"]).default("fail"),
});

/**
 * Returns a guardrail. Workers load it with the tools (`--module`); jobs carry its name.
 *
 * ```ts
 * export const polite = defineGuardrail({
 *   name: "polite",
 *   stage: "post",
 *   check: ({ text }) => (/damn/i.test(text) ? { action: "block", reason: "rude" } : undefined),
 * });
 * ```
 * @throws InputError naming the option that is unknown or wrong
 */
export function defineGuardrail(options: GuardrailOptions): Guardrail {
  const what = `the guardrail "${(options as { name?: unknown } | undefined)?.name}"`;
  const guardrail = { [GUARDRAIL]: true, ...checkWith(optionsSchema, options, what) };
  // As of a tool: what is stored of it is its name.
  Object.defineProperty(guardrail, "toJSON", { value: () => guardrail.name });
  return Object.freeze(guardrail);
}

export function isGuardrail(value: unknown): value is Guardrail {
  return typeof value === "object" && value !== null && GUARDRAIL in value;
}

/** Returns guardrails by their names. @throws InputError (`duplicate_guardrail`) when two of them share a name. */
export function guardrailsByName(all: Iterable<Guardrail>): Map<string, Guardrail> {
  const duplicate = ({ name }: Guardrail) =>
    new InputError(`two guardrails are called "${name}"`, "define each once", "duplicate_guardrail");
  return byName(all, ({ name }) => name, duplicate);
}

const MAX_GUARDRAILS = 32;

/** The option of clients, agents, calls and batches: guardrails, or names of some that workers have. */
export const guardrailsOption = z
  .array(
    z.union([z.custom<Guardrail>(isGuardrail, "must be guardrails, or names of guardrails"), toolNameSchema]),
  )
  .max(MAX_GUARDRAILS)
  .readonly()
  .optional();

/** Names that a job carries. */
export const guardrailNamesSchema = z.array(toolNameSchema).min(1).max(128);

/** Returns the names of guardrails, each once. */
export function guardrailNames(...lists: readonly (readonly (Guardrail | string)[] | undefined)[]): string[] {
  const all = lists.flatMap((list) => list ?? []);
  return [...new Set(all.map((one) => (typeof one === "string" ? one : one.name)))];
}

export const guardrailReportSchema = z.object({
  name: z.string(),
  stage: z.enum(guardrailStages),
  action: z.enum(["allow", "block", "flag", "rewrite", "error"]),
  reason: z.string().optional(),
  /** Nothing followed from it. */
  shadow: z.literal(true).optional(),
  toolName: z.string().optional(),
  /** What its questions to models cost in USD, part of the job's; absent: it asked none. */
  costUsd: z.number().nullable().optional(),
  durationMs: z.number(),
});
/** What a guardrail said of a job. `error`: it failed, and counts as allowed. */
export type GuardrailReport = z.infer<typeof guardrailReportSchema>;
