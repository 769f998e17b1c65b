import type { ProviderCall, ProviderReply } from "../providers/provider.ts";
import {
  type AskedCall,
  answerAttributes,
  callName,
  requestAttributes,
} from "../telemetry/llm-attributes.ts";
import { inSpan, keepsContent, keepsSpans, setSpanAttributes } from "../telemetry/tracing.ts";
import type { CallWatch } from "./call-watch.ts";

/** Makes a provider call inside its span. */
export function traceCall(
  from: Pick<AskedCall, "provider" | "conversation">,
  call: ProviderCall,
  watch: Pick<CallWatch, "costUsd" | "firstPieceMs">,
  make: () => Promise<ProviderReply>,
): Promise<ProviderReply> {
  if (!keepsSpans()) return make();
  const asked: AskedCall = {
    ...from,
    model: call.model,
    request: call.request,
    isStreamed: call.onDelta !== undefined,
  };
  const attributes = () => ({
    ...requestAttributes(asked, keepsContent()),
    "gluellm.request.id": call.requestId,
  });
  return inSpan(callName(asked), { kind: "CLIENT", attributes }, async (span) => {
    const reply = await make();
    if (!span?.isRecording()) return reply;
    const { costUsd, firstPieceMs } = watch;
    const firstSeconds = firstPieceMs === undefined ? undefined : firstPieceMs / 1000;
    setSpanAttributes(
      {
        ...answerAttributes({ ...reply, costUsd }, keepsContent()),
        "gen_ai.response.time_to_first_chunk": firstSeconds,
      },
      span,
    );
    return reply;
  });
}
