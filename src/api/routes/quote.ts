import { z } from "zod";
import { chooseModels } from "../../calls/model-chain.ts";
import { chatRequestSchema } from "../../shared/chat.ts";
import { costUsd } from "../../shared/cost.ts";
import { modelRef } from "../../shared/model-name.ts";
import { estimatePromptTokens } from "../../shared/token-estimate.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

/** An answer of a question that does not say how long it may be. */
const USUAL_ANSWER_TOKENS = 500;

const bodySchema = z
  .strictObject({
    message: z.union([z.string().min(1), chatRequestSchema.shape.messages]),
    model: z.string().optional(),
    maxTokens: z.int().min(1).optional(),
    count: z.int().min(1).default(1).meta({ description: "So many questions like it." }),
  })
  .meta({ id: "QuoteRequest" });
type Body = z.infer<typeof bodySchema>;

/** `/api/quote`: what questions would cost. */
export const quoteRoutes: RouteGroup = {
  name: "quote",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/quote",
      isRead: true,
      summary: "Says about how many tokens questions have and what they would cost, without asking a model.",
      scope: ["read", "complete"],
      body: bodySchema,
      answer: z
        .object({
          model: z.string(),
          promptTokens: z
            .number()
            .meta({ description: "A guess by the length of the texts, of all questions." }),
          answerTokens: z
            .number()
            .meta({ description: `Of all answers: maxTokens each, else ${USUAL_ANSWER_TOKENS}.` }),
          costUsd: z.number().nullable().meta({ description: "null: the model has no price." }),
        })
        .meta({ id: "Quote" }),
      handle: quote,
    }),
  ],
};

async function quote({ context, body }: Call<unknown, unknown, Body>): Promise<object> {
  const { settings } = context;
  const { message, count, maxTokens = USUAL_ANSWER_TOKENS } = body;
  const { model } = chooseModels(body.model, {
    ...{ settings, defaultModels: settings.defaultModel, keyNeeded: false },
    drawnBy: () => "quote",
  });
  const messages = typeof message === "string" ? [{ role: "user" as const, content: message }] : message;
  const prompt = estimatePromptTokens({ messages }) * count;
  const completion = maxTokens * count;
  const use = { prompt, completion, total: prompt + completion, cached: 0 };
  const ref = modelRef(model.entry, model.model);
  return {
    model: ref.key,
    promptTokens: prompt,
    answerTokens: completion,
    costUsd: costUsd(settings.prices, ref, use),
  };
}
