import { takesFlex } from "../providers/flex.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { WorkerContext } from "./context.ts";

interface FlexInput {
  model: ModelRef;
  payload: Pick<CompletionPayload, "lane">;
  request: ChatRequest;
  wire?: WireOptions | undefined;
}

/** Whether a call is asked for in the cheap tier, where it may take many minutes. */
export function asksForFlex(context: WorkerContext, input: FlexInput): boolean {
  return flexMsOf(context, input) > 0;
}

/** The time that a call may be asked for in the cheap tier, in milliseconds; 0 for none. */
export function flexMsOf(
  { settings, store }: WorkerContext,
  { model, payload, request, wire }: FlexInput,
): number {
  const entry = settings.providers[model.entry];
  const leftMs = (payload.lane?.until ?? 0) - clockOf(store).now();
  return leftMs > 0 && entry && takesFlex(entry, request, wire) ? leftMs : 0;
}
