import { toolCallsOf } from "../providers/assistant-message.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import type { ChatRequest, Message } from "../shared/chat.ts";
import { GlueError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { modelRef } from "../shared/model-name.ts";
import type { ToolExecution } from "../shared/records.ts";
import { type Step, type Steps, toRequestChoice } from "../shared/steps.ts";
import { thrownText } from "../shared/thrown-text.ts";
import type { FinishedCall } from "../store/finished-call.ts";

/** The answers of a job so far, and the functions that go along with them. */
export class JobSteps {
  #functions: Steps | undefined;
  readonly #payload: CompletionPayload;
  readonly #logger: Logger;
  readonly #steps: Step[] = [];

  constructor(functions: Steps | undefined, payload: CompletionPayload, logger: Logger) {
    this.#functions = functions;
    this.#payload = payload;
    this.#logger = logger;
  }

  /** Goes on with other functions: another agent has its turn. */
  use(functions: Steps | undefined): void {
    this.#functions = functions;
  }

  /** Returns what the next answer is asked for with. @throws GlueError `step_function_failed` */
  async prepare(request: ChatRequest, toolTurns: number): Promise<ChatRequest> {
    const { prepareStep } = this.#functions ?? {};
    const number = this.#steps.length;
    const soFar = { ...this.#soFar, number, messages: request.messages };
    const prepared = (prepareStep && (await called("prepareStep", () => prepareStep(soFar)))) ?? {};
    const { toolChoice = choiceAt(this.#payload.toolChoices, toolTurns), tools, system } = prepared;
    return {
      ...request,
      ...(tools && { tools: offered(request, tools) }),
      ...(system !== undefined && { messages: withSystem(request.messages, system) }),
      ...(toolChoice !== undefined &&
        toolsOf(request).length > 0 && { tool_choice: toRequestChoice(toolChoice) }),
    };
  }

  /**
   * Takes an answer and what its tools brought; returns whether the job ends with them.
   * @param isNew whether an earlier attempt has not told of it
   * @throws GlueError `step_function_failed`
   */
  async add(call: FinishedCall, toolExecutions: readonly ToolExecution[], isNew: boolean): Promise<boolean> {
    const { onStep, stopWhen } = this.#functions ?? {};
    const step = toStep(this.#steps.length, call, toolExecutions);
    this.#steps.push(step);
    if (onStep && isNew) {
      await called("onStep", () => onStep(step, this.#soFar)).catch((error: GlueError) =>
        this.#logger.warn({ fault: error.code }, "onStep failed"),
      );
    }
    if (!stopWhen || toolExecutions.length === 0) return false;
    return (await called("stopWhen", () => stopWhen(this.#soFar))) === true;
  }

  get #soFar() {
    return { steps: [...this.#steps], context: this.#payload.context ?? {} };
  }
}

/** What forces a call holds for one answer: the model has to come to an end. */
function choiceAt(choices: readonly string[] | undefined, toolTurns: number): string | undefined {
  if (!choices) return undefined;
  const [first = "auto"] = choices;
  if (choices.length === 1 && (first === "none" || first === "auto")) return first;
  return choices[toolTurns] ?? "auto";
}

function offered(request: ChatRequest, names: readonly string[]) {
  const chosen = toolsOf(request).filter((tool) => names.includes(String(tool.function?.name)));
  if (chosen.length > 0) return chosen;
  throw failed(
    "prepareStep",
    `the call has none of the tools ${names.join(", ")}; use toolChoice: "none" for none`,
  );
}

function toolsOf({ tools }: ChatRequest): { function?: { name?: unknown } }[] {
  return Array.isArray(tools) ? tools : [];
}

/** Returns messages with the system prompt in front, in place of the one that is there. */
export function withSystem(messages: readonly Message[], system: string): Message[] {
  const rest = messages[0]?.role === "system" ? messages.slice(1) : messages;
  return [{ role: "system", content: system }, ...rest];
}

function toStep(number: number, call: FinishedCall, toolExecutions: readonly ToolExecution[]): Step {
  const { entry, model, body, tokens, costUsd } = call;
  const [choice] = body.choices;
  return {
    number,
    model: modelRef(entry, model).key,
    text: choice?.message.content ?? "",
    finishReason: choice?.finish_reason ?? undefined,
    toolCalls: toolCallsOf(body).map(({ id, function: { name, arguments: args } }) => ({
      id,
      name,
      arguments: args,
    })),
    toolExecutions,
    tokensUsed: tokens,
    costUsd,
  };
}

async function called<T>(what: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw failed(what, thrownText(error).slice(0, 1000));
  }
}

function failed(what: string, reason: string): GlueError {
  return new GlueError({
    code: "step_function_failed",
    category: "input",
    message: `${what} of the job's steps failed: ${reason}`,
    hint: "correct the function; the job is tried again as after any fault",
  });
}
