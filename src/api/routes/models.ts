import { z } from "zod";
import { chooseModel } from "../../calls/model-choice.ts";
import { GlueError } from "../../shared/errors.ts";
import { listedModels } from "../../shared/price-list.ts";
import type { Settings } from "../../shared/settings.ts";
import { ApiError } from "../api-error.ts";
import { defineRoute, type RouteGroup } from "../route.ts";

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
      answer: z.object({ object: z.literal("list"), data: z.array(modelSchema) }),
      handle: async ({ context: { settings } }) => ({
        object: "list",
        data: modelIds(settings).map((id) => toModel(id, settings)),
      }),
    }),
    defineRoute({
      method: "get",
      path: "/models/*id",
      summary: "Returns one model.",
      scope: "complete",
      params: z.object({
        id: z.union([z.string(), z.array(z.string()).transform((parts) => parts.join("/"))]),
      }),
      answer: modelSchema,
      handle: async ({ context: { settings }, params: { id } }) =>
        toModel(knownModel(id, settings), settings),
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
