import type { Answer } from "../answer.ts";
import type { Call } from "../call.ts";
import type { AnswerIdentity, StreamTexts } from "../dialect.ts";
import { tokenTexts } from "../token-count.ts";

const FINGERPRINT = "gluellm-simulator";

/** A `chat.completion` body. */
export function answerBody(call: Call, answer: Answer, identity: AnswerIdentity): object {
  const { text, toolCall } = answer;
  const message = {
    role: "assistant",
    content: toolCall ? null : text,
    refusal: null,
    ...(toolCall && { tool_calls: [toolCallOf(answer)] }),
  };
  return {
    ...headOf(call, identity, "chat.completion"),
    choices: Array.from({ length: call.choices }, (_, index) => ({
      index,
      message,
      logprobs: null,
      finish_reason: finishReason(answer),
    })),
    usage: usageOf(call, answer),
  };
}

/** The `chat.completion.chunk` events of a streamed answer. */
export function streamTexts(call: Call, answer: Answer, identity: AnswerIdentity): StreamTexts {
  const head = headOf(call, identity, "chat.completion.chunk");
  const usage = call.includeUsage ? { usage: null } : {};
  const event = (delta: object, finish: string | null = null) =>
    Array.from({ length: call.choices }, (_, index) =>
      sse({ ...head, choices: [{ index, delta, logprobs: null, finish_reason: finish }], ...usage }),
    );
  const closing = event({}, finishReason(answer));
  if (call.includeUsage) closing.push(sse({ ...head, choices: [], usage: usageOf(call, answer) }));
  closing.push("data: [DONE]\n\n");
  return { content: deltasOf(answer).flatMap((delta) => event(delta)), closing };
}

function deltasOf(answer: Answer): object[] {
  const opening = { role: "assistant", content: answer.toolCall ? null : "", refusal: null };
  if (!answer.toolCall) return [opening, ...tokenTexts(answer.text).map((content) => ({ content }))];
  const { function: called, ...call } = toolCallOf(answer);
  const begun = { index: 0, ...call, function: { name: called.name, arguments: "" } };
  return [
    { ...opening, tool_calls: [begun] },
    ...tokenTexts(called.arguments).map((piece) => ({
      tool_calls: [{ index: 0, function: { arguments: piece } }],
    })),
  ];
}

function toolCallOf({ toolCall }: Answer) {
  return {
    id: `call_${toolCall?.id}`,
    type: "function",
    function: { name: toolCall?.name, arguments: JSON.stringify(toolCall?.arguments) },
  };
}

function headOf(call: Call, { requestId, createdAt }: AnswerIdentity, object: string) {
  return {
    id: `chatcmpl-${requestId}`,
    object,
    created: createdAt,
    model: call.model,
    service_tier: "default",
    system_fingerprint: FINGERPRINT,
  };
}

function usageOf({ promptTokens }: Call, { completionTokens }: Answer) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  };
}

function finishReason({ finish }: Answer): string {
  return finish === "tool_call" ? "tool_calls" : finish;
}

function sse(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
