import { askedBy, chatOfResponses } from "../../batch/responses-line.ts";
import { RowFault } from "../../batch/row-fault.ts";
import type { ChatMessage, EnqueueOptions } from "../../calls/completion-options.ts";
import { chooseModel } from "../../calls/model-choice.ts";
import { apiOf, speaksForm } from "../../shared/providers.ts";
import type { Settings } from "../../shared/settings.ts";
import { translationError } from "../translation-error.ts";
import type { Fields } from "./response-body.ts";

/** What is between a caller and this server alone. */
const OWN = ["stream", "stream_options", "background", "store", "previous_response_id", "model", "input"];
/** What a chat request need not say: it changes nothing of the answer. */
const WITHOUT_COUNTERPART = ["metadata", "include_obfuscation"];

/** A request as a client's `enqueue` takes it. */
export interface ResponseRequest {
  messages: ChatMessage[];
  options: EnqueueOptions;
}

/**
 * Returns the job of a response. Providers with an API of Responses get the body as it is; for others it is translated.
 * @throws ApiError naming the parameter that cannot be translated
 */
export function toRequest(body: Fields, input: Fields[], settings: Settings): ResponseRequest {
  const model = typeof body.model === "string" ? body.model : undefined;
  const asked: Fields = Object.fromEntries(
    Object.entries(body).filter(([name, value]) => !OWN.includes(name) && value != null),
  );
  const { isNative, mayBeNative } = nativeness(model, settings);
  if (isNative) return nativeRequest(model, asked, input);
  try {
    return translated(model, asked, input);
  } catch (error) {
    if (!(error instanceof RowFault)) throw error;
    if (mayBeNative && error.code === "cannot_translate") return nativeRequest(model, asked, input);
    throw translationError(error, "body", {
      param: "input",
      hint: "leave it out, or use a model whose provider has an API of Responses",
    });
  }
}

/** An added server is taken for one of Responses when it says so, or when nothing else can take the request. */
function nativeness(
  model: string | undefined,
  settings: Settings,
): { isNative: boolean; mayBeNative: boolean } {
  const { deployments, providers, defaultModel } = settings;
  if (Object.hasOwn(deployments, model ?? defaultModel)) return { isNative: false, mayBeNative: false };
  const ref = chooseModel(model, { settings, defaultModel, keyNeeded: false });
  const entry = providers[ref.entry];
  const mayBeNative = speaksForm(entry, ref.model, "responses");
  const isKnown = entry !== undefined && (!entry.custom || apiOf(entry, ref.model) === "responses");
  return { isNative: mayBeNative && isKnown, mayBeNative };
}

function nativeRequest(model: string | undefined, asked: Fields, input: Fields[]): ResponseRequest {
  // Nothing is kept at the provider: what a later response needs is kept here.
  const responses = { ...asked, input, store: false };
  const { max_output_tokens: limit, temperature } = asked;
  const extra = {
    ...(limit != null && { max_completion_tokens: limit }),
    ...(temperature != null && { temperature }),
    responses,
  };
  const messages: ChatMessage[] = [{ role: "user", content: askedBy(input) || " . " }];
  return { messages, options: { model, extra } };
}

function translated(model: string | undefined, asked: Fields, input: Fields[]): ResponseRequest {
  const body: Fields = { ...asked, input: input.filter(({ type }) => type !== "reasoning") };
  for (const name of WITHOUT_COUNTERPART) delete body[name];
  if (Array.isArray(body.include))
    body.include = body.include.filter((name) => name !== "reasoning.encrypted_content");
  if (body.reasoning !== undefined) {
    const { summary: _, generate_summary: _1, ...reasoning } = body.reasoning as Fields;
    body.reasoning = reasoning;
  }
  const { messages, model: _, ...extra } = chatOfResponses(body);
  return { messages: messages as ChatMessage[], options: { model, extra } };
}
