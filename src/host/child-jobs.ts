import { toCompletionInput } from "../calls/completion-input.ts";
import { CompletionProducer } from "../producers/completion-producer.ts";
import { type AgentCode, addParts, callOptionsOf } from "../shared/agent.ts";
import type { Settings } from "../shared/settings.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { ChildCall } from "../workers/context.ts";

/** Begins the jobs in which agents answer calls of tools; opens what that takes with the first one. */
export class ChildJobs {
  readonly #options: { store: ConnectedStore; settings: Settings };
  readonly #code: AgentCode;
  #producer: CompletionProducer | undefined;

  constructor(store: ConnectedStore, settings: Settings, code: AgentCode) {
    this.#options = { store, settings };
    this.#code = code;
  }

  /** Returns the job's id: inside one run of a tool the same one each time. @throws as `enqueue` */
  async begin({ agent, message, models, parent, ...options }: ChildCall): Promise<string> {
    this.#producer ??= new CompletionProducer(this.#options);
    const { settings } = this.#options;
    const asked = { model: models, ...callOptionsOf(agent), ...options, agent };
    const input = toCompletionInput(message, asked, {
      settings,
      // The fleet has them, if not this worker.
      keyNeeded: false,
      offerParts: (parts) => addParts(this.#code, parts),
    });
    const { id } = await this.#producer.enqueue({ ...input, parent });
    return id;
  }

  async close(): Promise<void> {
    await this.#producer?.close();
  }
}
