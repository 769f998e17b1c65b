import { chatOfMessages } from "../../batch/anthropic-line.ts";
import { askedBy } from "../../batch/responses-line.ts";
import { RowFault } from "../../batch/row-fault.ts";
import { calledModels, rowModels } from "../../batch/row-models.ts";
import type { ChatMessage, EnqueueOptions } from "../../calls/completion-options.ts";
import { aliasOf } from "../../shared/deployments.ts";
import { GlueError } from "../../shared/errors.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import { speaksForm } from "../../shared/providers.ts";
import type { Settings } from "../../shared/settings.ts";
import { translationError } from "../translation-error.ts";

export type Fields = Record<string, unknown>;

/** A request as a client's `enqueue` takes it. */
export interface MessageRequest {
  messages: ChatMessage[];
  options: EnqueueOptions;
  /** Whether it goes out in its own words. */
  isVerbatim: boolean;
}

/** What a chat request need not say: it changes nothing of the answer, or says what holds anyway. */
const WITHOUT_COUNTERPART: Readonly<Record<string, (value: unknown) => boolean>> = {
  thinking: (value) => (value as Fields | null)?.type === "disabled",
  service_tier: (value) => value === "auto",
  cache_control: () => true,
};
const THINKING: readonly unknown[] = ["thinking", "redacted_thinking"];

/**
 * Returns the job of a message. Providers of Anthropic's dialect get body and headers as they are; for others it is translated.
 * @throws ApiError naming the parameter that cannot be translated; as `chooseModel`
 */
export function toMessageRequest(
  { model: name, stream: _, ...body }: Fields,
  settings: Settings,
  headers: Readonly<Record<string, string>> = {},
): MessageRequest {
  const ref = modelNamed(typeof name === "string" ? name : undefined, settings);
  const entries = new Set(calledModels(settings, [ref]).map(({ entry }) => entry));
  const model = aliasOf(ref) ?? ref.key;
  const isVerbatim = [...entries].every((entry) =>
    speaksForm(settings.providers[entry], ref.model, "anthropic"),
  );
  if (!isVerbatim) {
    const { messages, model: _, ...extra } = translatedMessages(body);
    return { messages: messages as ChatMessage[], options: { model, extra }, isVerbatim };
  }
  const { max_tokens, temperature } = body;
  const extra = {
    ...(max_tokens != null && { max_tokens }),
    ...(temperature != null && { temperature }),
    anthropic: body,
  };
  // Versions and betas are of one provider; several have the headers of their entries.
  const isTold = entries.size === 1 && Object.keys(headers).length > 0;
  const messages: ChatMessage[] = [{ role: "user", content: askedBy(body.messages) || " . " }];
  return { messages, options: { model, extra, ...(isTold && { headers }) }, isVerbatim };
}

/** A name without its provider is Anthropic's, or else of the default model's provider. */
function modelNamed(name: string | undefined, settings: Settings): ModelRef {
  const resolve = rowModels({ settings, defaultModel: settings.defaultModel, keyNeeded: false });
  if (name === undefined) return resolve(undefined);
  try {
    return resolve(name, "anthropic");
  } catch (error) {
    if (!(error instanceof GlueError)) throw error;
    try {
      return resolve(name);
    } catch {
      throw error;
    }
  }
}

/**
 * Returns a body of Messages as a chat request.
 * @throws ApiError naming the parameter that cannot be translated
 */
export function translatedMessages(body: Fields): Fields {
  const said = Object.entries(body).filter(([name, value]) => !WITHOUT_COUNTERPART[name]?.(value));
  const messages = Array.isArray(body.messages) ? body.messages.map(sendable) : body.messages;
  try {
    return chatOfMessages({ ...Object.fromEntries(said), messages }, { isForOthers: true });
  } catch (error) {
    if (!(error instanceof RowFault)) throw error;
    throw translationError(error, "params", {
      param: "messages",
      hint: "leave it out, or use a model whose provider has Anthropic's API",
    });
  }
}

/** What a model of Anthropic's thought in earlier answers is sealed: others cannot read it. */
function sendable(message: unknown): unknown {
  const { content } = message as Fields;
  if (!Array.isArray(content)) return message;
  const kept = content.filter((block) => !THINKING.includes((block as Fields | null)?.type));
  return { ...(message as Fields), content: kept };
}
