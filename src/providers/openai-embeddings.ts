import { z } from "zod";
import { type ChatRequest, EMBEDDINGS } from "../shared/chat.ts";
import { InvalidRequestError } from "../shared/errors.ts";
import { fieldsOf } from "../shared/json.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { estimatePromptTokens } from "../shared/token-estimate.ts";
import { readTokenUse } from "../shared/token-use.ts";
import { vectorToText } from "../shared/vector-text.ts";
import type { HttpReply } from "./call.ts";
import type { ProviderCall, ProviderReply } from "./provider.ts";
import { unusableAnswer } from "./provider-errors.ts";
import { usageOf } from "./usage.ts";

const replySchema = z.looseObject({
  data: z.array(
    z.looseObject({ index: z.int().min(0).nullish(), embedding: z.union([z.array(z.number()), z.base64()]) }),
  ),
});

/**
 * Returns an Embeddings request: one text, or list of token ids, for each message.
 * @throws InvalidRequestError for messages that are no texts of a user's
 */
export function toEmbeddingsRequest({ model, request }: ProviderCall): Record<string, unknown> {
  const { messages, embedding } = request;
  const { tokens, ...parameters } = embedding ?? {};
  const input =
    tokens ??
    messages.map(({ role, content }) => {
      if (role === "user" && typeof content === "string") return content;
      throw new InvalidRequestError({
        code: "unsupported_parameter",
        message: "embeddings are made of user messages with a text each",
        hint: "leave out system prompts, tools and parts",
      });
    });
  return { model, input, encoding_format: "float", ...parameters };
}

/**
 * Returns the vectors in the shape of a chat.completion: one choice per text, whose content is the vector.
 * @throws APIConnectionError `invalid_response` when there is not one vector per text
 */
export function toEmbeddingsReply(
  entry: ProviderEntry,
  call: ProviderCall,
  answer: HttpReply,
): Omit<ProviderReply, "charged"> {
  const { requestId, statusCode, data } = answer;
  const parsed = replySchema.safeParse(data);
  const vectors = inOrder(parsed.data?.data ?? []);
  const isWhole = vectors.every(({ embedding }) => embedding.length > 0);
  if (!isWhole || vectors.length !== call.request.messages.length)
    throw unusableAnswer(entry, "it does not hold one vector per text", answer);
  const usage = usageOf(fieldsOf(data), [], {
    prompt: () => estimatePromptTokens(call.request),
    completion: () => 0,
  });
  const choices = vectors.map(({ embedding }, index) => {
    const content = typeof embedding === "string" ? embedding : vectorToText(embedding);
    return { index, message: { role: "assistant" as const, content }, finish_reason: "stop" as const };
  });
  const format = call.request.embedding?.encoding_format;
  const kept = format && { encoding_format: format };
  const body = { id: requestId, object: EMBEDDINGS, model: call.model, choices, usage, ...kept };
  return { statusCode, requestId, body, tokens: readTokenUse(usage) };
}

/** Returns the vectors by their index, as they stand where servers leave it out; none when one of them is missing. */
function inOrder<V extends { index?: number | null | undefined }>(given: readonly V[]): readonly V[] {
  const sorted = given.toSorted((a, b) => (a.index ?? 0) - (b.index ?? 0));
  const isNumbered = sorted.every(({ index }, n) => index === n);
  return isNumbered || given.every(({ index }) => index == null) ? sorted : [];
}

/** Returns whether a request asks for vectors instead of an answer. */
export function asksForEmbeddings({ embedding }: ChatRequest): boolean {
  return embedding !== undefined;
}
