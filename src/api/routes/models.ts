import type { Request } from "express";
import { z } from "zod";
import { chooseModel } from "../../calls/model-choice.ts";
import { GlueError } from "../../shared/errors.ts";
import { listedModels } from "../../shared/price-list.ts";
import type { Settings } from "../../shared/settings.ts";
import { ApiError, dialectFor } from "../api-error.ts";
import { defineRoute, type RouteGroup } from "../route.ts";

/** Of Anthropic's clients, which page the list. */
const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(20),
  after_id: z.string().optional(),
  before_id: z.string().optional(),
});
type Page = z.infer<typeof pageSchema>;
const anthropicModelSchema = z
  .object({
    type: z.literal("model"),
    id: z.string(),
    display_name: z.string(),
    created_at: z.string(),
  })
  .meta({ id: "AnthropicModel" });
const modelSchema = z
  .object({ id: z.string(), object: z.literal("model"), created: z.int(), owned_by: z.string() })
  .meta({ id: "Model" });

/** `/v1/models`: the models that can be asked for, as `entry:model`, and the names of deployments. */
export const modelRoutes: RouteGroup = {
  name: "models",
  basePath: "/v1",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/models",
      summary: "Lists the models that are configured or priced, and the names of deployments.",
      scope: "complete",
      query: pageSchema,
      answer: z.union([
        z.object({ object: z.literal("list"), data: z.array(modelSchema) }),
        z.object({
          data: z.array(anthropicModelSchema),
          has_more: z.boolean(),
          first_id: z.string().nullable(),
          last_id: z.string().nullable(),
        }),
      ]),
      handle: async ({ context: { settings }, request, query }) => {
        const ids = modelIds(settings);
        if (isForAnthropic(request)) return anthropicPage(ids, query);
        return { object: "list", data: ids.map((id) => toModel(id, settings)) };
      },
    }),
    defineRoute({
      method: "get",
      path: "/models/*id",
      summary: "Returns one model.",
      scope: "complete",
      params: z.object({
        id: z.union([z.string(), z.array(z.string()).transform((parts) => parts.join("/"))]),
      }),
      answer: z.union([modelSchema, anthropicModelSchema]),
      handle: async ({ context: { settings }, params: { id }, request }) => {
        const known = knownModel(id, settings);
        return isForAnthropic(request) ? toAnthropicModel(known) : toModel(known, settings);
      },
    }),
  ],
};

/** Names with wildcards stand for models that nobody can list. */
function modelIds(settings: Settings): string[] {
  const entries = Object.values(settings.providers);
  const configured = [
    settings.defaultModel,
    ...Object.keys(settings.deployments),
    ...settings.allowedModels,
    ...Object.keys(settings.limits),
    ...Object.keys(settings.prices),
    ...entries.flatMap(({ name, models = [] }) => models.map((model) => `${name}:${model}`)),
  ];
  const priced = entries
    .filter(({ apiKey, custom }) => apiKey && !custom)
    .flatMap(({ name }) => listedModels(name));
  return [...new Set([...configured.filter((id) => !id.includes("*")), ...priced])].sort();
}

function toModel(id: string, { deployments }: Settings): z.infer<typeof modelSchema> {
  const owner = Object.hasOwn(deployments, id) ? "gluellm" : (id.split(":")[0] ?? "gluellm");
  return { id, object: "model", created: 0, owned_by: owner };
}

function isForAnthropic(request: Request): boolean {
  return dialectFor(request, "openai") === "anthropic";
}

/** When a model was made is not known: the epoch stands for that. */
function toAnthropicModel(id: string): z.infer<typeof anthropicModelSchema> {
  return { type: "model", id, display_name: id, created_at: new Date(0).toISOString() };
}

function anthropicPage(ids: readonly string[], { limit, after_id, before_id }: Page) {
  const end = before_id === undefined ? ids.length : Math.max(0, ids.indexOf(before_id));
  const from =
    before_id === undefined ? (after_id === undefined ? 0 : ids.indexOf(after_id) + 1) : end - limit;
  const page = ids.slice(Math.max(0, from), Math.min(end, Math.max(0, from) + limit));
  return {
    data: page.map(toAnthropicModel),
    has_more: before_id === undefined ? from + limit < ids.length : from > 0,
    first_id: page[0] ?? null,
    last_id: page.at(-1) ?? null,
  };
}

/** @throws ApiError 404 */
function knownModel(id: string, settings: Settings): string {
  if (Object.hasOwn(settings.deployments, id)) return id;
  try {
    return chooseModel(id, { settings, defaultModel: settings.defaultModel, keyNeeded: false }).key;
  } catch (error) {
    if (!(error instanceof GlueError)) throw error;
    throw new ApiError({ status: 404, code: "model_not_found", param: "model", message: error.message });
  }
}
