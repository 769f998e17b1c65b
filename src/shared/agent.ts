import { z } from "zod";
import { byName } from "./by-name.ts";
import { InputError } from "./errors.ts";
import {
  type Guardrail,
  guardrailNames,
  guardrailsByName,
  guardrailsOption,
  isGuardrail,
} from "./guardrail.ts";
import { checkWith } from "./schema-check.ts";
import { isSteps, type Steps, stepsByName } from "./steps.ts";
import { isSystemPrompt, SystemPrompt } from "./system-prompt.ts";
import { defineTool, isTool, type Tool, type ToolOptions, toolNameSchema, toolsByName } from "./tool.ts";

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
  /** Rules on what goes to its model and what comes of it, or their names; default none. */
  guardrails?: readonly (Guardrail | string)[];
  /** Functions that go along with its answers, such as those that choose the tools of each; default none. */
  steps?: Steps;
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
  guardrails: guardrailsOption,
  steps: z.custom<Steps>(isSteps, "must be what defineSteps returns").optional(),
});

/** Another agent that an agent may hand over to: the tool that the model calls for it. */
export interface Handoff {
  readonly agent: Agent;
  readonly tool: Tool;
}

/** A tool whose calls another agent answers, each in a job of its own. */
export type AgentTool = Tool & { readonly agent: Agent };

/** How an agent is offered as a tool. */
export type AgentToolOptions = Partial<Pick<AgentTool, "name" | "description" | "maxOutputBytes">> &
  Pick<ToolOptions<z.ZodObject>, "needsApproval" | "approvalTimeoutMs" | "onApprovalTimeout">;

/** A prepared way to answer: prompt, tools and model under a name. Exported from a module, workers gather it. */
export class Agent {
  readonly [AGENT] = true;
  readonly name: string;
  readonly description: string;
  readonly systemPrompt: string | SystemPrompt;
  readonly tools: readonly Tool[];
  readonly maxToolIterations: number | undefined;
  readonly model: string | undefined;
  readonly guardrails: readonly (Guardrail | string)[];
  readonly steps: Steps | undefined;
  readonly #handoffs = new Map<string, Handoff>();

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
    this.guardrails = checked.guardrails ?? [];
    this.steps = checked.steps;
  }

  /**
   * Lets this agent hand over to others, which go on with the same messages; and returns it. The model is offered a tool
   * `handoff_to_<name>` for each. Agents may hand over to each other.
   *
   * ```ts
   * triage.handoff(billing, shipping);
   * billing.handoff(triage);
   * ```
   * @throws InputError when the name is too long for a tool, or a tool has it
   */
  handoff(...others: readonly Agent[]): this {
    for (const other of others) {
      const tool = defineTool({
        name: `handoff_to_${other.name}`,
        description: `Hands the conversation over to the agent ${other.name}, who goes on with it. ${other.description}`,
        parameters: z.object({ reason: z.string().describe("Why, in one sentence").optional() }),
        execute: () => `The conversation was handed over to ${other.name}.`,
      });
      toolsByName([...this.tools, tool]);
      this.#handoffs.set(tool.name, { agent: other, tool });
    }
    return this;
  }

  /** The agents that it may hand over to, each with the tool for it. */
  get handoffs(): readonly Handoff[] {
    return [...this.#handoffs.values()];
  }

  /**
   * Returns a tool whose calls this agent answers: each is a job of its own, which the calling job waits for without a place, a
   * lock or a worker.
   * @param options default: the agent's name and description
   */
  asTool({ name, description, maxOutputBytes, ...approval }: AgentToolOptions = {}): AgentTool {
    const tool = defineTool({
      name: name ?? this.name,
      description: description ?? this.description,
      parameters: z.object({
        input: z.string().min(1).describe("What the agent is to do, with all that it has to know"),
      }),
      ...(maxOutputBytes !== undefined && { maxOutputBytes }),
      ...approval,
      execute: () => {
        throw new Error("only workers run the agents behind tools");
      },
    });
    return Object.defineProperty(tool, "agent", { value: this }) as AgentTool;
  }

  /** Returns the agent as a workflow's input carries it: tools by their names, which workers have to know. */
  toJSON(): AgentSpec {
    const { name, description, systemPrompt, tools, maxToolIterations, model } = this;
    const prompt = isSystemPrompt(systemPrompt) ? systemPrompt.format({ tools }) : systemPrompt;
    const names = tools.map((tool) => tool.name);
    const guardrails = this.guardrails.length > 0 ? guardrailNames(this.guardrails) : undefined;
    return { name, description, systemPrompt: prompt, tools: names, maxToolIterations, model, guardrails };
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
  guardrails: guardrailsOption,
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

export function isAgentTool(tool: Tool): tool is AgentTool {
  return isAgent((tool as Partial<AgentTool>).agent);
}

/** Returns agents by their names. @throws InputError (`duplicate_agent`) when two of them share a name. */
function agentsByName(agents: Iterable<Agent>): Map<string, Agent> {
  const hint = "define each agent once, under a name of its own";
  const duplicate = ({ name }: Agent) =>
    new InputError(`two agents are called "${name}"`, hint, "duplicate_agent");
  return byName(agents, ({ name }) => name, duplicate);
}

/** Returns an agent's options of a call. */
export function callOptionsOf({
  name,
  systemPrompt,
  tools,
  maxToolIterations,
  model,
  guardrails,
  steps,
}: Agent) {
  return {
    agent: name,
    system: systemPrompt,
    tools,
    ...(maxToolIterations !== undefined && { maxToolIterations }),
    ...(model !== undefined && { model }),
    ...(guardrails.length > 0 && { guardrails }),
    ...(steps !== undefined && { steps }),
  };
}

/** Returns an agent and those that the work may be handed to, by however many handoffs. */
export function teamOf(first: Agent): Agent[] {
  const team = new Set([first]);
  for (const agent of team) for (const { agent: other } of agent.handoffs) team.add(other);
  return [...team];
}

/** What agents and tools need of a worker, by whatever way one leads to another. */
export interface AgentParts {
  agents: Agent[];
  tools: Tool[];
  guardrails: Guardrail[];
  steps: Steps[];
}

/** What a worker has of them, by name; it may grow. */
export interface AgentCode {
  tools: Map<string, Tool>;
  agents: Map<string, Agent>;
  guardrails: Map<string, Guardrail>;
  steps: Map<string, Steps>;
}

/** Returns what a worker has that has nothing yet. */
export function emptyCode(): AgentCode {
  return { tools: new Map(), agents: new Map(), guardrails: new Map(), steps: new Map() };
}

/** Adds parts, all of them or none. @throws InputError (`duplicate_tool`, `duplicate_agent` …) when another one has the name of one. */
export function addParts(known: AgentCode, parts: AgentParts): void {
  const tools = toolsByName([...known.tools.values(), ...parts.tools]);
  const agents = agentsByName([...known.agents.values(), ...parts.agents]);
  const guardrails = guardrailsByName([...known.guardrails.values(), ...parts.guardrails]);
  const steps = stepsByName([...known.steps.values(), ...parts.steps]);
  for (const [name, tool] of tools) known.tools.set(name, tool);
  for (const [name, agent] of agents) known.agents.set(name, agent);
  for (const [name, guardrail] of guardrails) known.guardrails.set(name, guardrail);
  for (const [name, some] of steps) known.steps.set(name, some);
}

/** Returns all that these agents and tools need of a worker. */
export function partsOfAgents(given: readonly Agent[], tools: readonly Tool[]): AgentParts {
  const agents = new Set(given);
  const all = new Set(tools);
  const addAgentsOf = (some: Iterable<Tool>) => {
    for (const tool of some) {
      all.add(tool);
      if (isAgentTool(tool)) agents.add(tool.agent);
    }
  };
  addAgentsOf(tools);
  for (const agent of agents) {
    addAgentsOf(agent.tools);
    for (const { agent: other } of agent.handoffs) agents.add(other);
  }
  return {
    agents: [...agents],
    tools: [...all],
    guardrails: [...agents].flatMap((agent) => agent.guardrails.filter(isGuardrail)),
    steps: [...agents].flatMap(({ steps }) => steps ?? []),
  };
}
