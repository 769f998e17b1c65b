import { modelRef } from "../shared/model-name.ts";
import type { ActiveAgent } from "./active-agent.ts";
import { lackOf, NotHereError } from "./can-run.ts";
import type { WorkerContext } from "./context.ts";
import type { LoopInput } from "./loop-input.ts";

/** Returns the job with the model of the agent whose turn it is. @throws NotHereError when this worker cannot call it */
export function withAgent(context: WorkerContext, input: LoopInput, { target }: ActiveAgent): LoopInput {
  if (!target) {
    input.onModel(input.model);
    return input;
  }
  const lack = lackOf(context, target.provider);
  if (lack?.kind === "putBack") throw new NotHereError(lack.reason);
  const model = modelRef(target.provider.entry, target.model);
  input.onModel(model);
  return { ...input, model };
}
