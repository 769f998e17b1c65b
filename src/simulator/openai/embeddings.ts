import { z } from "zod";
import type { Call } from "../call.ts";
import { conversationOf } from "../conversation.ts";
import type { Dialect } from "../dialect.ts";
import { readShape } from "../read-shape.ts";
import { textEmbedding } from "../text-embedding.ts";
import { promptTokens } from "../token-count.ts";
import { openaiDialect } from "./dialect.ts";

const DEFAULT_DIMENSIONS = 64;
const text = z.string().min(1);
/** The ids of a text's tokens. */
const tokens = z.array(z.int().min(0)).min(1);

const requestSchema = z.looseObject({
  model: z.string().min(1),
  input: z.union([text, z.array(text).min(1).max(2048), tokens, z.array(tokens).min(1).max(2048)]),
  dimensions: z.int().min(1).max(4096).optional(),
  encoding_format: z.enum(["float", "base64"]).optional(),
});

/** The dialect OpenAI Embeddings: a call without `#sim` lines and without output tokens, otherwise as any other. */
export const openaiEmbeddingsDialect: Dialect = {
  ...openaiDialect,
  readCall,
  answerBody: (call) => embeddingsBody(call),
};

function readCall(body: unknown): Call {
  const { model, input, dimensions = DEFAULT_DIMENSIONS, encoding_format } = readShape(requestSchema, body);
  const list = Array.isArray(input) && typeof input[0] !== "number" ? input : [input];
  const texts = list.map((one) => (Array.isArray(one) ? one.join(" ") : String(one)));
  return {
    ...conversationOf([]),
    model,
    stream: false,
    includeUsage: false,
    lastUserText: texts.join("\n"),
    promptTokens: list.some(Array.isArray) ? list.flat().length : promptTokens(texts, undefined, undefined),
    maxTokens: undefined,
    choices: 1,
    tools: [],
    forcedTool: undefined,
    answerSchema: undefined,
    embeddings: { texts, dimensions, isBase64: encoding_format === "base64" },
  };
}

function embeddingsBody({ model, promptTokens: tokens, embeddings }: Call): object {
  return {
    object: "list",
    data: embeddings?.texts.map((one, index) => {
      const vector = textEmbedding(one, embeddings.dimensions);
      return { object: "embedding", index, embedding: embeddings.isBase64 ? base64(vector) : [...vector] };
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** Returns little-endian 32-bit floats, as OpenAI packs them. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [at, value] of vector.entries()) bytes.writeFloatLE(value, at * 4);
  return bytes.toString("base64");
}
