import type { Agent } from "../shared/agent.ts";
import type { CompleteOptions, CompletionMessage } from "./completion-options.ts";
import type { CompletionResult } from "./completion-result.ts";

/** Answers messages. Any object of this shape is one. */
export interface Executor {
  execute(message: CompletionMessage): Promise<CompletionResult>;
}

/** What an executor calls through: a client, or a conversation when its messages belong together. */
export interface Completer {
  complete(message: CompletionMessage, options?: CompleteOptions): Promise<CompletionResult>;
}

/** The same options for each message. */
export class SimpleExecutor implements Executor {
  readonly #completer: Completer;
  readonly #options: CompleteOptions;

  constructor(completer: Completer, options: CompleteOptions = {}) {
    this.#completer = completer;
    this.#options = options;
  }

  execute(message: CompletionMessage): Promise<CompletionResult> {
    return this.#completer.complete(message, this.#options);
  }
}

/** An agent's prompt, tools and model for each message. */
export class AgentExecutor implements Executor {
  readonly #completer: Completer;
  readonly agent: Agent;

  constructor(completer: Completer, agent: Agent) {
    this.#completer = completer;
    this.agent = agent;
  }

  execute(message: CompletionMessage): Promise<CompletionResult> {
    const { systemPrompt: system, tools, maxToolIterations, model } = this.agent;
    return this.#completer.complete(message, {
      system,
      tools,
      ...(maxToolIterations !== undefined && { maxToolIterations }),
      ...(model !== undefined && { model }),
    });
  }
}
