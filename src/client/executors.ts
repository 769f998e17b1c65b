import type { CompleteOptions, CompletionMessage } from "../calls/completion-options.ts";
import type { CompletionResult } from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import { type Agent, callOptionsOf } from "../shared/agent.ts";

/** An object that answers messages; any object of this shape is one. */
export interface Executor<Output = unknown> {
  /** Returns the result for a message. @throws as `complete` of a client */
  execute(message: CompletionMessage): Promise<CompletionResult<Output>>;
}

/** The object that an executor calls through: a client, or a conversation when its messages belong together. */
export interface Completer {
  /** Returns the result of a call, once there is one. */
  complete<S extends OutputSchema>(
    message: CompletionMessage,
    options?: CompleteOptions<S>,
  ): Promise<CompletionResult<OutputOf<S>>>;
}

/** An executor with the same options for each message. */
export class SimpleExecutor<S extends OutputSchema = OutputSchema> implements Executor<OutputOf<S>> {
  readonly #completer: Completer;
  readonly #options: CompleteOptions<S>;

  constructor(completer: Completer, options: CompleteOptions<S> = {}) {
    this.#completer = completer;
    this.#options = options;
  }

  /** Returns the result for a message. @throws as `complete` of a client */
  execute(message: CompletionMessage): Promise<CompletionResult<OutputOf<S>>> {
    return this.#completer.complete(message, this.#options);
  }
}

/** An executor with an agent's prompt, tools and model for each message. */
export class AgentExecutor implements Executor {
  readonly #completer: Completer;
  /** The agent that answers. */
  readonly agent: Agent;

  constructor(completer: Completer, agent: Agent) {
    this.#completer = completer;
    this.agent = agent;
  }

  /** Returns the result for a message. @throws as `complete` of a client */
  execute(message: CompletionMessage): Promise<CompletionResult> {
    // What a conversation or a client says of these otherwise is for those who are no agent.
    return this.#completer.complete(message, { ...callOptionsOf(this.agent), agent: this.agent });
  }
}
