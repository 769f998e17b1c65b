import type { OnDelta, ProviderReply } from "../providers/provider.ts";
import { paidFor } from "../providers/provider-errors.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import { LANE_PRICE_SHARE } from "../shared/cost.ts";
import { GlueError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { WorkerContext } from "./context.ts";

interface Watched {
  model: ModelRef;
  payload: Pick<CompletionPayload, "agent" | "tenant">;
}

/** Tells metrics and the fleet's sums of one provider call, whatever becomes of it. */
export class CallWatch {
  /** Of the answer; null while there is none, and when nobody knows the price. */
  costUsd: number | null = null;
  /** From the sending to the first piece of a streamed answer. */
  firstPieceMs: number | undefined;
  readonly #context: WorkerContext;
  readonly #watched: Watched;
  #sentAt = 0;

  constructor(context: WorkerContext, watched: Watched) {
    this.#context = context;
    this.#watched = watched;
  }

  /** Returns what gets the pieces of the answer; it also notes when the first one comes, and tells of it. */
  onDelta(given: OnDelta | undefined, began: () => void): OnDelta | undefined {
    if (!given) return given;
    return (piece) => {
      if (this.firstPieceMs === undefined) {
        this.firstPieceMs = performance.now() - this.#sentAt;
        began();
      }
      given(piece);
    };
  }

  async complete(call: () => Promise<ProviderReply>): Promise<ProviderReply> {
    this.#sentAt = performance.now();
    try {
      const reply = await call();
      this.#tell("succeeded", "", reply.tokens, reply.isFlex);
      return reply;
    } catch (error) {
      this.#tell("failed", error instanceof GlueError ? error.code : "aborted", paidFor(error));
      throw error;
    }
  }

  #tell(
    status: "succeeded" | "failed",
    code: string,
    tokens: TokenUse | undefined,
    isFlex: boolean | undefined = false,
  ): void {
    const { costs, metrics, outcomes } = this.#context;
    const { model: ref, payload } = this.#watched;
    const durationMs = performance.now() - this.#sentAt;
    // To look up a price takes longer than all else here: it is done once.
    this.costUsd = tokens ? costs.of(ref, tokens, isFlex ? LANE_PRICE_SHARE : 1) : null;
    const { costUsd } = this;
    outcomes.called(ref.key, durationMs, costUsd ?? 0);
    const { entry, model } = ref;
    const { agent, tenant } = payload;
    const told = { status, code, durationMs, firstPieceMs: this.firstPieceMs, tokens, costUsd };
    metrics?.callEnded({ entry, model, agent, tenant, ...told });
  }
}
