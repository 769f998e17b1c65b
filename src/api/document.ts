import { STATUS_CODES } from "node:http";
import { z } from "zod";
import {
  createDocument,
  type oas31,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from "zod-openapi";
import type { Route, RouteGroup, VendorDialect } from "./route.ts";

/** The OpenAPI 3.1 document, made of the schemas that the routes check with. */

const openAiErrorSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
    }),
  })
  .meta({ id: "Error" });
const anthropicErrorSchema = z
  .object({
    type: z.literal("error"),
    error: z.object({ type: z.string(), message: z.string() }),
    request_id: z.string(),
  })
  .meta({ id: "AnthropicError" });
const ERRORS: Readonly<Record<VendorDialect, z.ZodType>> = {
  openai: openAiErrorSchema,
  anthropic: anthropicErrorSchema,
};
/** Statuses of every route; others come in the same form. */
const REFUSALS = ["400", "401", "403", "404", "429", "503"] as const;

/** Returns the document. @param version of this package */
export function openApiDocument(groups: readonly RouteGroup[], version: string): oas31.OpenAPIObject {
  const paths: ZodOpenApiPathsObject = {};
  for (const group of groups) {
    for (const route of group.routes) {
      const path = `${group.basePath}${documentedPath(route.path)}`;
      paths[path] = { ...paths[path], [route.method]: operation(route, group, path) };
    }
  }
  return createDocument({
    openapi: "3.1.1",
    info: {
      title: "GlueLLM",
      version,
      description:
        "Durable calls of models, batches, workflows and schedules. `/v1` is what OpenAI's clients call, `/api` the rest.",
    },
    servers: [{ url: "/" }],
    security: [{ key: [] }],
    tags: groups.filter(isFirstOfName).map(({ name }) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        key: { type: "http", scheme: "bearer", description: "A key: `gluellm keys create` makes one." },
      },
    },
  }) as oas31.OpenAPIObject;
}

function isFirstOfName({ name }: RouteGroup, place: number, all: readonly RouteGroup[]): boolean {
  return all.findIndex((group) => group.name === name) === place;
}

/** `/runs/:id`, `/models/*id` → `/runs/{id}`, `/models/{id}` */
function documentedPath(path: string): string {
  return path.replace(/[:*](\w+)/g, "{$1}");
}

function operation(
  { method, path, summary, scope, params, query, body, bodyType, answer, answerType }: Route,
  { name, dialect }: RouteGroup,
  documented: string,
): ZodOpenApiOperationObject {
  const scopes = [scope].flat();
  const requestBody = body
    ? { required: true, content: { "application/json": { schema: body } } }
    : bodyType && { required: true, content: { [bodyType]: { schema: z.unknown() } } };
  return {
    operationId: [method, ...documented.split(/[^A-Za-z0-9]+/).filter(Boolean)].join("_"),
    tags: [name],
    summary,
    description: `The key needs the scope ${scopes.map((each) => `\`${each}\``).join(" or ")}.`,
    requestParams: {
      ...((params ?? namedParams(path)) && { path: (params ?? namedParams(path)) as z.ZodObject }),
      ...(query && { query: query as z.ZodObject }),
    },
    ...(requestBody && { requestBody }),
    responses: { ...answers(answer, answerType), ...refusals(dialect) },
  };
}

/** Paths name their parameters, whether the route checks them or not. */
function namedParams(path: string): z.ZodObject | undefined {
  const names = [...path.matchAll(/[:*](\w+)/g)].map(([, name = ""]) => name);
  return names.length > 0 ? z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) : undefined;
}

function answers(answer: Route["answer"], answerType: string | undefined): ZodOpenApiResponsesObject {
  const content = {
    ...(answer && { "application/json": { schema: answer } }),
    ...(answerType && { [answerType]: { schema: z.unknown() } }),
  };
  return { "2XX": { description: "What was asked for", content } } as ZodOpenApiResponsesObject;
}

function refusals(dialect: VendorDialect): ZodOpenApiResponsesObject {
  const content = { "application/json": { schema: ERRORS[dialect] } };
  return Object.fromEntries(
    REFUSALS.map((status) => [status, { description: STATUS_CODES[status] ?? "", content }]),
  );
}
