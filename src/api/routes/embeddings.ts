import { z } from "zod";
import { bodyOf } from "../../batch/answer-forms.ts";
import { type EmbeddingRequest, toEmbeddingRequest } from "../../shared/embedding-input.ts";
import { badParameter } from "../api-error.ts";
import { askJob } from "../asked-job.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const MAX_INPUTS = 2048;

const bodySchema = z
  .looseObject({
    model: z.string().optional(),
    input: z.union([
      z.string(),
      z.array(z.string()).min(1).max(MAX_INPUTS),
      z.array(z.union([z.number(), z.array(z.number())])).min(1),
    ]),
    encoding_format: z.enum(["float", "base64"]).nullish(),
    dimensions: z.int().positive().nullish(),
    user: z.string().nullish(),
  })
  .meta({ id: "CreateEmbedding" });
type Body = z.infer<typeof bodySchema>;

export const embeddingRoutes: RouteGroup = {
  name: "embeddings",
  basePath: "/v1",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/embeddings",
      summary: "Makes a vector of each text, as numbers or as base64 of 32-bit floats.",
      scope: "complete",
      body: bodySchema,
      answer: z.looseObject({ object: z.literal("list") }).meta({ id: "Embeddings" }),
      handle: embed,
    }),
  ],
};

async function embed(call: Call<unknown, unknown, Body>): Promise<unknown> {
  const { model, input, ...given } = call.body;
  const embedding: Record<string, unknown> = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== null),
  );
  const { messages, tokens } = askedIn(input);
  if (tokens) embedding.tokens = tokens;
  await using job = await askJob(call, messages, { model, extra: { embedding } }, "embeddings");
  const { rawResponse } = await job.handle.result({ signal: call.signal });
  return bodyOf(rawResponse, "embeddings");
}

function askedIn(input: Body["input"]): EmbeddingRequest {
  const asked = toEmbeddingRequest(input);
  if (!asked) throw badParameter("input", "input: it is no text or token ids, and no list of them");
  const empty = asked.messages.findIndex(({ content }) => content.trim() === "");
  if (empty >= 0)
    throw badParameter(typeof input === "string" ? "input" : `input[${empty}]`, "input: a text is empty");
  return asked;
}
