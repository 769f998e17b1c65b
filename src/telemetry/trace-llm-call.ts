import { INVALID_SPAN_CONTEXT, trace } from "@opentelemetry/api";
import type { ChatCompletion, ChatRequest, Message } from "../shared/chat.ts";
import { isObject } from "../shared/json.ts";
import { parseModel } from "../shared/model-name.ts";
import { BUILT_IN_PROVIDERS } from "../shared/providers.ts";
import { readTokenUse } from "../shared/token-use.ts";
import { answerAttributes, callName, requestAttributes } from "./llm-attributes.ts";
import { inSpan, keepsContent, type Span, setSpanAttributes } from "./tracing.ts";

/** A call of a model by your own code. */
export interface TracedCall {
  /** `provider:model`; a name alone is one of `openai`'s. */
  model: string;
  /** What is sent, in OpenAI's words; default: none is counted. */
  messages?: readonly object[];
  /** The definitions of its tools; default none. */
  tools?: readonly object[];
}

const NO_SPAN = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);

/**
 * Does a call of a model by your own code inside a span like those of workers, under the present one, and returns what it brought. What
 * the call throws marks the span as failed. Of an answer in OpenAI's words the span has tokens and finish reason; `setSpanAttributes`
 * adds what you know.
 *
 * ```ts
 * const answer = await traceLlmCall({ model: "openai:gpt-4o-mini", messages }, () => openai.chat.completions.create({ ... }));
 * ```
 */
export function traceLlmCall<T>(traced: TracedCall, work: (span: Span) => Promise<T>): Promise<T> {
  const { entry, model } = parseModel(
    traced.model,
    BUILT_IN_PROVIDERS.map(({ name }) => name),
  );
  const request = { messages: (traced.messages ?? []) as Message[], tools: traced.tools } as ChatRequest;
  const call = { provider: { name: entry }, model, request };
  const attributes = () => requestAttributes(call, keepsContent());
  return inSpan(callName(call), { kind: "CLIENT", attributes }, async (span) => {
    const result = await work(span ?? NO_SPAN);
    if (span && isAnswer(result)) {
      const tokens = readTokenUse(result.usage);
      setSpanAttributes(answerAttributes({ body: result, tokens, costUsd: null }, keepsContent()), span);
    }
    return result;
  });
}

function isAnswer(value: unknown): value is ChatCompletion {
  const choices = isObject(value) ? value.choices : undefined;
  return Array.isArray(choices) && choices.every((choice) => isObject(choice?.message));
}
