import { z } from "zod";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import { type AgentSpec, agentSpecSchema } from "../shared/agent.ts";
import type { StepOptions, Workflow, WorkflowContext } from "../workflows/context.ts";
import { defineWorkflow } from "../workflows/workflow.ts";

/** The option for an agent: an `Agent`, or its words in JSON. */
export const agent = agentSpecSchema;

/** The option for what becomes of a run when one of several agents at work side by side fails. */
export const onAgentError = z
  .enum(["fail", "skip"])
  .default("fail")
  .describe("when one agent of a group fails: fail: so does the run; skip: the others go on without it");
export type OnAgentError = z.infer<typeof onAgentError>;

/**
 * Returns what came of work side by side, in its order; with `skip`, undefined for what failed.
 * @throws the first error with `fail`, and with `skip` when nothing succeeded
 */
export async function settleGroup<T>(
  policy: OnAgentError,
  group: readonly Promise<T>[],
): Promise<(T | undefined)[]> {
  if (policy === "fail") return Promise.all(group);
  const settled = await Promise.allSettled(group);
  const [first] = settled;
  if (first?.status === "rejected" && settled.every(({ status }) => status === "rejected"))
    throw first.reason;
  return settled.map((one) => (one.status === "fulfilled" ? one.value : undefined));
}

const interactionSchema = z.object({
  /** The purpose of the call, as the run's steps name it. */
  stage: z.string(),
  agent: z.string(),
  input: z.string(),
  /** The answer's text; JSON for a structured one. */
  output: z.string(),
  tokens: z.object({ prompt: z.number(), completion: z.number(), total: z.number(), cached: z.number() }),
  /** The cost in USD; null when no price of the model is known. */
  costUsd: z.number().nullable(),
});

const resultSchema = z.object({
  finalOutput: z.string(),
  /** The number of rounds, levels or stages, as the pattern counts them. */
  iterations: z.number(),
  /** The calls, in the order in which they were asked for. */
  agentInteractions: z.array(interactionSchema),
  /** What else the pattern found out: scores, votes, why it ended. */
  metadata: z.record(z.string(), z.unknown()),
});
type Interaction = z.infer<typeof interactionSchema>;
/** The output of every pattern: its answer, each call of an agent with tokens and cost in USD, and what it found out. */
export type PatternResult = z.infer<typeof resultSchema>;

/** The part of an interaction that stands for a call that failed. */
const NO_ANSWER = {
  output: "",
  tokens: { prompt: 0, completion: 0, total: 0, cached: 0 },
  costUsd: null,
} as const;

/** The field that every pattern takes beside its own options. */
const inputSchema = z.object({ input: z.string().min(1, "must not be empty") });
/** A pattern's options and its input, as `run` gets them. */
export type PatternInput<Config extends z.ZodObject> = z.output<Config> & { input: string };

/** The parts of a pattern. */
export interface PatternOptions<Config extends z.ZodObject> {
  /** The name, as `gluellm workflow run` knows it. */
  name: string;
  /** The version of its code, from 1; default 1. Prompts that change need a new one, so that runs under way keep theirs. */
  version?: number;
  /** One sentence that says when to take this one. */
  when: string;
  /** The number of calls of models, as a formula over the options. */
  calls: string;
  /** The publication of the method. */
  source?: string;
  /** The options, each with its default and a `describe()`. */
  config: Config;
  /** Refuses options that contradict each other, naming the field. */
  check?: (config: PatternInput<Config>, refuse: (field: string, message: string) => void) => void;
  /** References to retrievers and evaluators that these options need (`retriever:docs`). */
  requires?: (config: PatternInput<Config>) => readonly string[];
  run: (
    ctx: WorkflowContext,
    config: PatternInput<Config>,
    ask: Ask,
  ) => Promise<Omit<PatternResult, "agentInteractions">>;
}

/** A workflow pattern: a durable workflow that says when to take it, how many calls it makes and where it comes from. */
export interface Pattern<Config extends z.ZodObject = z.ZodObject>
  extends Workflow<PatternInput<Config>, PatternResult, z.input<Config> & { input: string }> {
  when: string;
  calls: string;
  source: string | undefined;
  config: Config;
}

/** Returns a pattern as a workflow; its result's interactions are those that it made through `ask`. */
export function definePattern<Config extends z.ZodObject>(options: PatternOptions<Config>): Pattern<Config> {
  const { name, version, when, calls, source, config, check, requires, run } = options;
  type Input = PatternInput<Config>;
  const input = z.strictObject({ ...inputSchema.shape, ...config.shape }).superRefine((given, context) => {
    check?.(given as Input, (field, message) => {
      context.addIssue({ code: "custom", path: field.split("."), message });
    });
  }) as unknown as z.ZodType<Input, z.input<Config> & { input: string }>;
  const workflow = defineWorkflow({
    name,
    version,
    input,
    output: resultSchema,
    requires,
    run: async (ctx, given) => {
      const interactions: Interaction[] = [];
      const result = await run(ctx, given, askThrough(ctx, interactions));
      return { ...result, agentInteractions: interactions };
    },
  });
  return { ...workflow, when, calls, source, config };
}

type StepResult = Awaited<ReturnType<WorkflowContext["agent"]>>;

/** The way to ask agents, which writes down what was said. */
export interface Ask {
  /** Returns the answer's text. @throws the call's error */
  (stage: string, who: AgentSpec, message: string, options?: StepOptions): Promise<string>;
  /** Returns the whole result, such as the tools that were run. @throws the call's error */
  result(stage: string, who: AgentSpec, message: string, options?: StepOptions): Promise<StepResult>;
  /** Returns a structured answer, for what a pattern has to read. @throws the call's error; StructuredOutputError */
  structured<S extends OutputSchema>(
    stage: string,
    who: AgentSpec,
    message: string,
    options: StepOptions<S> & { schema: S },
  ): Promise<OutputOf<S>>;
  /** Returns the same way within a branch, whose steps are named after it. */
  within(ctx: WorkflowContext): Ask;
}

function askThrough(ctx: WorkflowContext, interactions: Interaction[]): Ask {
  async function call<S extends OutputSchema>(
    stage: string,
    who: AgentSpec,
    message: string,
    options: StepOptions<S> = {},
  ) {
    // Its place is that of the question: the answers to questions side by side come in any order.
    const asked = { stage, agent: who.name, input: message };
    const place = interactions.push({ ...asked, ...NO_ANSWER }) - 1;
    const result = await ctx.agent(stage, who, message, options);
    const { tokensUsed, costUsd, finalResponse } = result;
    const { prompt, completion, total, cached } = tokensUsed;
    const output = options.schema ? JSON.stringify(result.output) : finalResponse;
    interactions[place] = { ...asked, output, tokens: { prompt, completion, total, cached }, costUsd };
    return result;
  }
  const ask = async (stage: string, who: AgentSpec, message: string, options?: StepOptions) =>
    (await call(stage, who, message, options)).finalResponse;
  return Object.assign(ask, {
    result: call,
    structured: async <S extends OutputSchema>(
      stage: string,
      who: AgentSpec,
      message: string,
      options: StepOptions<S> & { schema: S },
    ) => (await call(stage, who, message, options)).output,
    within: (branch: WorkflowContext) => askThrough(branch, interactions),
  });
}

/** Returns the place of the first name that stood before; -1 when all differ. */
export function secondOfName(named: readonly { name: string }[]): number {
  return named.findIndex(({ name }, i) => named.findIndex((other) => other.name === name) < i);
}
