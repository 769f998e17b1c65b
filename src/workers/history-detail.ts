import type { CompletionPayload } from "../shared/catalog.ts";
import { type ChatCompletion, previewOfAnswer } from "../shared/chat.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import type { ResultRecord } from "../shared/records.ts";
import { type Redact, redacted, redactedJson } from "../shared/redact.ts";
import { isBlobRef, readBlobText } from "../store/blobs.ts";
import type { OutboxDetail } from "../store/outbox-event.ts";
import type { WorkerContext } from "./context.ts";
import type { PaidCall } from "./spent.ts";

/** Of a text that is kept whole; what waits for the database lies in Redis. */
const MAX_CHARS = 64 * 1024;
const MAX_ANSWERS = 200;

/** What the history is told of a job's end beside its figures; undefined where there is none. */
export async function historyDetail(
  context: WorkerContext,
  payload: CompletionPayload,
  { error }: ResultRecord,
  calls: readonly PaidCall[] = [],
): Promise<OutboxDetail | undefined> {
  const { enabled, content } = context.settings.history;
  if (!enabled) return undefined;
  const body = calls.at(-1)?.body;
  const fault = error && { errorMessage: error.message, errorCategory: error.category };
  const { redact } = context.store;
  return {
    answers: calls.slice(-MAX_ANSWERS).map(answerOf),
    ...fault,
    ...(content === "preview" && { prompt: payload.preview, answer: body && previewOfAnswer(body, redact) }),
    ...(content === "full" && {
      prompt: await wholePrompt(context, payload),
      answer: body && wholeAnswer(body, redact),
    }),
  };
}

function answerOf({ entry, model, body, tokens, costUsd, latencyMs, requestId, ...rest }: PaidCall) {
  const { fromCache, firstTokenMs, budgetWaitMs } = rest;
  return {
    ...{
      entry,
      model,
      costUsd,
      latencyMs: Math.round(latencyMs),
      requestId,
      fromCache,
      firstTokenMs,
      budgetWaitMs,
    },
    ...{ promptTokens: tokens.prompt, cachedTokens: tokens.cached, outputTokens: tokens.completion },
    finishReason: body?.choices[0]?.finish_reason ?? undefined,
  };
}

/** The messages of a request, as JSON. */
async function wholePrompt(
  { store }: WorkerContext,
  { request, preview }: CompletionPayload,
): Promise<string> {
  try {
    const json = isBlobRef(request) ? await readBlobText(store, request) : "json" in request && request.json;
    const { messages } = typeof json === "string" ? fieldsOf(parseJson(json)) : fieldsOf(request);
    return redactedJson(messages ?? request, store.redact, MAX_CHARS);
  } catch {
    // An end is written down without it rather than not at all.
    return preview;
  }
}

function wholeAnswer(body: ChatCompletion, redact: Redact | undefined): string {
  const { content, refusal, tool_calls } = body.choices[0]?.message ?? {};
  const text = content || refusal;
  if (!text && tool_calls) return redactedJson(tool_calls, redact, MAX_CHARS);
  return redacted(text || previewOfAnswer(body), redact, MAX_CHARS);
}
