import { z } from "zod";
import { byName } from "./by-name.ts";
import { InputError } from "./errors.ts";
import { checkWith } from "./schema-check.ts";
import { isSystemPrompt, SystemPrompt } from "./system-prompt.ts";
import { isTool, type Tool, toolNameSchema, toolsByName } from "./tool.ts";

/** The mark of agents, known across copies of this package: a worker and a module may have one each. */
const AGENT = Symbol.for("gluellm.agent");

/** Options of an agent. */
export interface AgentOptions {
  /** The agent's name: 1 to 64 letters, digits, `-` or `_`. */
  name: string;
  /** What it does, for people and for other agents that may hand work to it. */
  description: string;
  /** What it is told before the messages. */
  systemPrompt: string | SystemPrompt;
  /** The tools that it may call; default none. */
  tools?: readonly Tool[];
  /** The answers with tool calls before the model has to answer without, 1 to 1,000; default 10. */
  maxToolIterations?: number;
  /** The model as `provider:model`; default: the client's. */
  model?: string;
}

export const agentNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, - or _");

const optionsSchema = z.strictObject({
  name: agentNameSchema,
  description: z.string().min(1).max(10_000),
  systemPrompt: z.union([z.string().min(1), z.custom<SystemPrompt>(isSystemPrompt)]),
  tools: z.array(z.custom<Tool>(isTool, "must be what defineTool returns")).max(128).default([]),
  maxToolIterations: z.int().min(1).max(1000).optional(),
  model: z.string().min(1).optional(),
});

/** A prepared way to answer: prompt, tools and model under a name. Exported from a module, workers gather it. */
export class Agent {
  readonly [AGENT] = true;
  readonly name: string;
  readonly description: string;
  readonly systemPrompt: string | SystemPrompt;
  readonly tools: readonly Tool[];
  readonly maxToolIterations: number | undefined;
  readonly model: string | undefined;

  /** Makes an agent. @throws InputError naming the option that is unknown or wrong; `duplicate_tool`. */
  constructor(options: AgentOptions) {
    const what = `the agent "${(options as { name?: unknown } | undefined)?.name}"`;
    const checked = checkWith(optionsSchema, options, what);
    const { name, description, systemPrompt, tools, maxToolIterations, model } = checked;
    this.name = name;
    this.description = description;
    this.systemPrompt = systemPrompt;
    this.tools = [...toolsByName(tools).values()];
    this.maxToolIterations = maxToolIterations;
    this.model = model;
  }

  /** Returns the agent as a workflow's input carries it: tools by their names, which workers have to know. */
  toJSON(): AgentSpec {
    const { name, description, systemPrompt, tools, maxToolIterations, model } = this;
    const prompt = isSystemPrompt(systemPrompt) ? systemPrompt.format({ tools }) : systemPrompt;
    const names = tools.map((tool) => tool.name);
    return { name, description, systemPrompt: prompt, tools: names, maxToolIterations, model };
  }
}

/** A system prompt as it lies in a workflow's input. */
const storedPromptSchema = z
  .strictObject({ instructions: z.string(), template: z.string().optional() })
  .transform((options) => new SystemPrompt(options));

/** An agent in words of JSON. An `Agent` is one too. */
export const agentSpecSchema = z.object({
  name: agentNameSchema.default("agent"),
  description: z.string().default(""),
  systemPrompt: z.union([z.string(), z.custom<SystemPrompt>(isSystemPrompt), storedPromptSchema]).optional(),
  tools: z
    .array(z.union([toolNameSchema, z.custom<Tool>(isTool)]))
    .readonly()
    .optional(),
  maxToolIterations: z.int().min(1).max(1000).optional(),
  /** The model, or several: the next one answers when one cannot. */
  model: z.union([z.string(), z.array(z.string()).readonly()]).optional(),
});
export type AgentSpec = z.infer<typeof agentSpecSchema>;

/** An agent for any task; each option replaces its default. */
export class GenericAgent extends Agent {
  constructor(options: Partial<AgentOptions> = {}) {
    super({
      name: "generic",
      description: "Answers any request, with the tools it is given.",
      systemPrompt:
        "You are a helpful assistant. Answer correctly and to the point. Say so when you do not know.",
      ...options,
    });
  }
}

export function isAgent(value: unknown): value is Agent {
  return typeof value === "object" && value !== null && AGENT in value;
}

/** Returns agents by their names. @throws InputError (`duplicate_agent`) when two of them share a name. */
export function agentsByName(agents: Iterable<Agent>): Map<string, Agent> {
  const hint = "define each agent once, under a name of its own";
  const duplicate = ({ name }: Agent) =>
    new InputError(`two agents are called "${name}"`, hint, "duplicate_agent");
  return byName(agents, ({ name }) => name, duplicate);
}
