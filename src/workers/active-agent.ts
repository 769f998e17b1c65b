import { type Agent, callOptionsOf } from "../shared/agent.ts";
import type { CompletionPayload, FallbackTarget } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { guardrailNames } from "../shared/guardrail.ts";
import type { ToolExecution } from "../shared/records.ts";
import type { Steps } from "../shared/steps.ts";
import { isSystemPrompt } from "../shared/system-prompt.ts";
import { type Tool, toToolDefinition } from "../shared/tool.ts";
import type { WorkerContext } from "./context.ts";
import { withSystem } from "./job-steps.ts";
import { type JobOfTools, toolsOfJob } from "./job-tools.ts";
import type { LoopInput } from "./loop-input.ts";

/** How often one job is handed over: agents that cannot agree end there. */
const MAX_HANDOFFS = 20;

/**
 * The agent whose turn it is in a job. It follows from the tools that have run, which the journal has: a job that is taken
 * up again is with the same one.
 */
export class ActiveAgent {
  readonly #context: WorkerContext;
  readonly #payload: CompletionPayload;
  readonly #job: JobOfTools;
  #agent: Agent | undefined;
  #tools: readonly Tool[] = [];
  #handoffs = 0;

  private constructor(context: WorkerContext, input: LoopInput) {
    this.#context = context;
    this.#payload = input.payload;
    this.#job = input;
    this.#agent = context.agents.get(input.payload.agents?.[0]?.name ?? "");
  }

  /** Returns the agent that the job begins with. @throws as `toolsOfJob` */
  static async begin(context: WorkerContext, input: LoopInput): Promise<ActiveAgent> {
    const agent = new ActiveAgent(context, input);
    await agent.#load();
    return agent;
  }

  /** Undefined for a job that names none. */
  get name(): string | undefined {
    return this.#isFirst ? this.#payload.agent : this.#agent?.name;
  }

  /** The tools that it may call, those included that hand over. */
  get tools(): readonly Tool[] {
    return [...this.#tools, ...this.#open.map(({ tool }) => tool)];
  }

  /** The names of the tools that hand over. */
  get handoffs(): string[] {
    return this.#open.map(({ tool }) => tool.name);
  }

  get maxToolIterations(): number | undefined {
    return this.#isFirst ? this.#payload.maxToolIterations : this.#agent?.maxToolIterations;
  }

  /** Its model, where that is not the job's. */
  get target(): FallbackTarget | undefined {
    return this.#payload.agents?.find(({ name }) => name === this.#agent?.name)?.target;
  }

  /** Names of the guardrails that hold while it has its turn. */
  get guardrails(): string[] {
    const own = this.#isFirst ? [] : this.#agent?.guardrails;
    return guardrailNames(this.#payload.guardrails, own);
  }

  /** Functions that go along with its answers. */
  get steps(): Steps | undefined {
    const own = this.#isFirst ? undefined : this.#agent?.steps;
    return own ?? this.#context.steps.get(this.#payload.steps ?? "");
  }

  /** Goes on with the agent that the tools of an answer have handed over to. Returns whether they have. @throws as `toolsOfJob` */
  async take(executions: readonly ToolExecution[]): Promise<boolean> {
    const isTaken = ({ toolName, error }: ToolExecution) => this.handoffs.includes(toolName) && !error;
    const handoff = executions.find(isTaken);
    if (!handoff) return false;
    this.#agent = this.#open.find(({ tool }) => tool.name === handoff.toolName)?.agent;
    this.#handoffs += 1;
    await this.#load();
    return true;
  }

  /** Returns the request as this agent makes it. */
  requestOf(request: ChatRequest): ChatRequest {
    const { tools } = this;
    const asked = tools.length > 0 ? { ...request, tools: tools.map(toToolDefinition) } : request;
    if (this.#isFirst || !this.#agent) return asked;
    const { system } = callOptionsOf(this.#agent);
    const prompt = isSystemPrompt(system) ? system.format({ tools: this.#agent.tools }) : system;
    return { ...asked, messages: withSystem(asked.messages, prompt) };
  }

  async #load(): Promise<void> {
    const nameOf = ({ name }: Tool) => name;
    const own = this.#isFirst ? this.#payload.tools : this.#agent?.tools.map(nameOf);
    // What sets have is written down once, at the job's begin.
    const others = (this.#payload.agents ?? []).flatMap(
      ({ name }) => this.#context.agents.get(name)?.tools.map(nameOf) ?? [],
    );
    this.#tools = await toolsOfJob(this.#context, { ...this.#job, payload: { tools: own } }, others);
  }

  get #isFirst(): boolean {
    return this.#handoffs === 0;
  }

  get #open() {
    return this.#handoffs < MAX_HANDOFFS ? (this.#agent?.handoffs ?? []) : [];
  }
}
