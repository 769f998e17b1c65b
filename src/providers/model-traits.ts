import type { ProviderEntry } from "../shared/providers.ts";
import type { Fault } from "./fault.ts";

/** What is known of a model at a server: by its name, by the entry's settings, or by what the server refused. */
export interface ModelTraits {
  /** The word for the longest answer; undefined: the request's own. */
  maxTokensField?: "max_tokens" | "max_completion_tokens" | undefined;
  /** A tool call that another provider made is refused without a signature. */
  needsSignatures?: boolean;
  /** A tool call is refused without the reasoning before it, even when there was none. */
  needsReasoning?: boolean;
  /** What was kept for this entry of earlier answers is refused. */
  refusesState?: boolean;
}

/** OpenAI's models that refuse `max_tokens`, fine-tuned ones included. */
const REASONING_MODEL = /^(ft:)?(o\d|gpt-([5-9]|\d\d))/;
const OPENAI_HOST =
  /(^|\.)(openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com)$/;
const GOOGLE_HOST = /(^|\.)googleapis\.com$/;
/** From this generation on, Gemini refuses a tool call without its signature. */
const SIGNING_MODEL = /gemini-([3-9]|\d\d)/;

/** Returns what is known of a model before its first call. */
export function traitsOf({ name, baseUrl, maxTokensField }: ProviderEntry, model: string): ModelTraits {
  const host = URL.parse(baseUrl)?.hostname ?? "";
  const isOpenAI = name === "openai" || OPENAI_HOST.test(host);
  const isGoogle = name === "google" || GOOGLE_HOST.test(host);
  const wanted = isOpenAI && REASONING_MODEL.test(model) ? "max_completion_tokens" : undefined;
  return {
    maxTokensField: maxTokensField ?? wanted,
    needsSignatures: isGoogle && SIGNING_MODEL.test(model),
  };
}

/** Refusals that quote the request are long. */
const MAX_READ_CHARS = 2000;
const NOT_TAKEN =
  /unsupported|not supported|unknown|unrecognized|unexpected|not permitted|not allowed|forbidden/i;
const USE_THE_OTHER = /max_tokens\b.{0,200}\b(use|instead|replaced)\b.{0,40}max_completion_tokens/is;
const LACKS = /missing|must|require|expected|provide/i;
const STATE = /thought_?signature|extra_content|reasoning_(content|details)|thinking|signature/i;

/**
 * Returns what a refusal teaches about the model, so that the same call can be sent once more, now as the server wants it;
 * undefined when it teaches nothing new.
 */
export function lessonOf(
  fault: Fault,
  { traits, entry, body }: { traits: ModelTraits; entry: ProviderEntry; body: Record<string, unknown> },
): Partial<ModelTraits> | undefined {
  const { status, param } = fault;
  const message = fault.said.slice(0, MAX_READ_CHARS);
  if (status !== 400 && status !== 422) return undefined;
  if (!entry.maxTokensField) {
    const { maxTokensField: known } = traits;
    const isRefused = param === "max_tokens" && fault.codes.includes("unsupported_parameter");
    if (body.max_tokens != null && known === undefined && (isRefused || USE_THE_OTHER.test(message)))
      return { maxTokensField: "max_completion_tokens" };
    const isUnknown = param === "max_completion_tokens" || message.includes("max_completion_tokens");
    if (body.max_completion_tokens != null && known !== "max_tokens" && isUnknown && NOT_TAKEN.test(message))
      return { maxTokensField: "max_tokens" };
  }
  if (!traits.needsSignatures && /thought_?signature/i.test(message) && LACKS.test(message))
    return { needsSignatures: true };
  if (!traits.needsReasoning && message.includes("reasoning_content") && LACKS.test(message))
    return { needsReasoning: true };
  return !traits.refusesState && blamesState(fault) ? { refusesState: true } : undefined;
}

/** Returns whether a refusal may be one of what was kept of earlier answers. */
export function blamesState({ status, said }: Fault): boolean {
  return (status === 400 || status === 422) && STATE.test(said.slice(0, MAX_READ_CHARS));
}
