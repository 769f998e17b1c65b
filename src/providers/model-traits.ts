import { isDeepStrictEqual } from "node:util";
import type { ProviderEntry } from "../shared/providers.ts";
import type { Fault } from "./fault.ts";
import { FLEX } from "./flex.ts";
import { faultBehind } from "./provider-errors.ts";

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
  /** A part that is no text is refused, among messages that were answered already. */
  refusesParts?: boolean;
  /** Of Responses: the model has no reasoning that could be returned. */
  refusesEncrypted?: boolean;
  /** It is not to be had in the tier flex. */
  refusesFlex?: boolean;
}

/** OpenAI's models that refuse `max_tokens`, fine-tuned ones included. */
const REASONING_MODEL = /^(ft:)?(o\d|gpt-([5-9]|\d\d))/;
const OPENAI_HOST =
  /(^|\.)(openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com)$/;
/** OpenAI's models that do not reason. */
const PLAIN_MODEL = /^(ft:)?(gpt-[34]|chatgpt-4)/;
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
    refusesEncrypted: isOpenAI && PLAIN_MODEL.test(model),
  };
}

/** Refusals that quote the request are long. */
const MAX_READ_CHARS = 2000;
const NOT_TAKEN =
  /unsupported|not supported|unknown|unrecognized|unexpected|not permitted|not allowed|forbidden/i;
const USE_THE_OTHER = /max_tokens\b.{0,200}\b(use|instead|replaced)\b.{0,40}max_completion_tokens/is;
const LACKS = /missing|must|require|expected|provide/i;
const STATE =
  /thought_?signature|extra_content|reasoning_(content|details)|thinking|signature|encrypted.content|\brs_\w|required following item/i;
const REFUSED_INCLUDE =
  /encrypted.content.{0,80}(not supported|unsupported)|unsupported.{0,80}encrypted.content/i;
const FLEX_TIER = /\bflex\b|service.tier/i;
const PARTS =
  /image|picture|vision|audio|video|pdf|document|\bfiles?\b|multimodal|modalit|content (part|type)|unknown variant/i;
/** A router's 404: no model behind it takes such a part. */
const REFUSALS = [400, 404, 415, 422];

interface Refused {
  traits: ModelTraits;
  entry: ProviderEntry;
  body: Record<string, unknown>;
}

/** Returns what a refusal may teach about the model, the surest first. */
function lessonsOf(fault: Fault, refused: Refused): Partial<ModelTraits>[] {
  if (!REFUSALS.includes(fault.status)) return [];
  const said = fault.said.slice(0, MAX_READ_CHARS);
  const lessons: Partial<ModelTraits>[] = [];
  if (!refused.entry.maxTokensField) lessons.push(...limitLessons(fault, said, refused));
  const isOfInclude = fault.param?.startsWith("include") === true || REFUSED_INCLUDE.test(said);
  if (refused.body.include !== undefined && isOfInclude) lessons.push({ refusesEncrypted: true });
  if (refused.body.service_tier === FLEX && (fault.param === "service_tier" || FLEX_TIER.test(said)))
    lessons.push({ refusesFlex: true });
  if (/thought_?signature/i.test(said) && LACKS.test(said)) lessons.push({ needsSignatures: true });
  if (said.includes("reasoning_content") && LACKS.test(said)) lessons.push({ needsReasoning: true });
  if (STATE.test(said)) lessons.push({ refusesState: true });
  if (PARTS.test(said)) lessons.push({ refusesParts: true });
  return lessons;
}

function limitLessons(
  { param, codes }: Fault,
  said: string,
  { traits: { maxTokensField: known }, body }: Refused,
): Partial<ModelTraits>[] {
  const isRefused = param === "max_tokens" && codes.includes("unsupported_parameter");
  if (body.max_tokens != null && known === undefined && (isRefused || USE_THE_OTHER.test(said)))
    return [{ maxTokensField: "max_completion_tokens" }];
  const isNamed = param === "max_completion_tokens" || said.includes("max_completion_tokens");
  const isUnknown = body.max_completion_tokens != null && isNamed && NOT_TAKEN.test(said);
  return isUnknown && known !== "max_tokens" ? [{ maxTokensField: "max_tokens" }] : [];
}

/** How a call is written for a model, and sent. */
interface Sending<Body extends object, Answer> {
  entry: ProviderEntry;
  traits: ModelTraits;
  write: (traits: ModelTraits) => Body;
  /** Sends one call, which has the whole time of a call: in the rest of a refused one's it could have no answer. */
  send: (body: Body) => Promise<Answer>;
}

/**
 * Sends a call; and once more, within its time, where its refusal says how the model wants to be asked: a refusal costs
 * nothing, and what it teaches makes another body. Returns the answer, and what is known of the model now.
 * @throws as `send`
 */
export async function sendAsTaken<Body extends object, Answer>(
  sending: Sending<Body, Answer>,
): Promise<{ answer: Answer; traits: ModelTraits }> {
  const { entry, write, send } = sending;
  let { traits } = sending;
  let body = write(traits);
  for (;;) {
    try {
      const answer = await send(body);
      // What one request's history holds may be taken of another.
      return { answer, traits: { ...traits, refusesState: false, refusesParts: false } };
    } catch (error) {
      const fault = faultBehind(error);
      const lessons = fault ? lessonsOf(fault, { traits, entry, body: body as Record<string, unknown> }) : [];
      const tries = lessons.map((lesson) => ({ ...traits, ...lesson }));
      const next = tries.find((taught) => !isDeepStrictEqual(write(taught), body));
      if (!next) throw error;
      traits = next;
      body = write(traits);
    }
  }
}
