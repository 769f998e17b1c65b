import type { ProviderCall, ProviderReply } from "../providers/provider.ts";
import type { TokenUse } from "../shared/token-use.ts";
import {
  type AskedCall,
  answerAttributes,
  callName,
  requestAttributes,
} from "../telemetry/llm-attributes.ts";
import { inSpan, isTracing, keepsContent, type Span, setSpanAttributes } from "../telemetry/tracing.ts";

/** Makes a provider call inside its span. */
export function traceCall(
  {
    costOf,
    ...from
  }: Pick<AskedCall, "provider" | "conversation"> & {
    costOf: (tokens: TokenUse) => number | null;
  },
  call: ProviderCall,
  make: (call: ProviderCall) => Promise<ProviderReply>,
): Promise<ProviderReply> {
  if (!isTracing()) return make(call);
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
    const reply = await make(span ? withFirstChunk(call, span) : call);
    const answered = { ...reply, costUsd: costOf(reply.tokens) };
    if (span?.isRecording()) setSpanAttributes(answerAttributes(answered, keepsContent()), span);
    return reply;
  });
}

/** The call, of whose streamed answer the span learns when it began. */
function withFirstChunk(call: ProviderCall, span: Span): ProviderCall {
  const { onDelta } = call;
  if (!onDelta) return call;
  const sentAt = performance.now();
  let isFirst = true;
  return {
    ...call,
    onDelta: (piece) => {
      if (isFirst)
        span.setAttribute("gen_ai.response.time_to_first_chunk", (performance.now() - sentAt) / 1000);
      isFirst = false;
      onDelta(piece);
    },
  };
}
