import { z } from "zod";
import { guardrailNamesSchema } from "../../shared/guardrail.ts";
import type { Principal } from "../../shared/principal.ts";
import { roleOf } from "../../shared/principal.ts";
import { ROLES, scopeSchema } from "../../shared/scopes.ts";
import { DEFAULT_TENANT, tenantSchema } from "../../shared/tenant.ts";
import { type ApiKey, listApiKeys, readApiKey, revokeApiKey, saveApiKey } from "../../store/api-key.ts";
import { roleSchema } from "../../store/user.ts";
import { ApiError, badParameter, notFound } from "../api-error.ts";
import { defineRoute, type RouteGroup } from "../route.ts";

const usdSchema = z.number().min(0).max(1e9);
const idSchema = z.object({ id: z.string().max(64) });
const keySchema = z
  .object({
    id: z.string(),
    name: z.string(),
    tenant: z.string(),
    role: roleSchema.nullable().meta({ description: "The highest role whose scopes the key has." }),
    scopes: z.array(scopeSchema),
    state: z.enum(["valid", "expired", "revoked"]),
    createdAt: z.number(),
    expiresAt: z.number().optional(),
    revokedAt: z.number().optional(),
    rpm: z.number().optional(),
    maxCostUsd: z.number().optional(),
    maxCostUsdPerDay: z.number().optional(),
    maxCostUsdPerMonth: z.number().optional(),
    guardrails: z.array(z.string()).optional(),
    requests: z.number(),
    lastUsedAt: z.number().optional(),
    spentUsd: z.number(),
    spentUsdToday: z.number().optional(),
    spentUsdThisMonth: z.number().optional(),
  })
  .meta({ id: "ApiKey", description: "Times are epoch milliseconds. Its secret is not stored." });
const newKeySchema = z
  .strictObject({
    name: z.string().max(100).default(""),
    tenant: tenantSchema.optional().meta({ description: "Default: that of the key that asks." }),
    role: roleSchema.optional(),
    scopes: z.array(scopeSchema).min(1).optional().meta({ description: "In place of a role." }),
    expiresInSeconds: z.number().int().min(1).max(3_153_600_000).optional(),
    rpm: z.number().int().min(1).max(1_000_000).optional(),
    maxCostUsd: usdSchema.optional(),
    maxCostUsdPerDay: usdSchema.optional(),
    maxCostUsdPerMonth: usdSchema.optional(),
    guardrails: guardrailNamesSchema.optional(),
  })
  .meta({ id: "NewApiKey" });

/** `/api/keys`: who may call. A key of another tenant than `default` sees and makes those of its own. */
export const keyRoutes: RouteGroup = {
  name: "access",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/keys",
      summary: "Lists the keys, the newest first.",
      scope: "admin",
      answer: z.object({ data: z.array(keySchema) }),
      handle: async ({ context: { store }, principal }) => {
        const keys = await listApiKeys(store);
        return { data: keys.filter((key) => manages(principal, key)).map(shown) };
      },
    }),
    defineRoute({
      method: "post",
      path: "/keys",
      summary: "Makes a key; the answer has its secret, which nothing tells again.",
      scope: "admin",
      body: newKeySchema,
      answer: z.object({ id: z.string(), key: z.string() }),
      handle: async ({ context: { store }, principal, body, response }) => {
        const {
          role,
          scopes = role && ROLES[role],
          expiresInSeconds,
          tenant = principal.tenant,
          ...rest
        } = body;
        if (!scopes || (role && body.scopes))
          throw badParameter("role", "give the role or the scopes of the key");
        if (!manages(principal, { tenant }))
          throw new ApiError({
            status: 403,
            code: "other_tenant",
            message: `only keys of the tenant "${DEFAULT_TENANT}" make keys of other tenants`,
          });
        const expiresAt = expiresInSeconds && Date.now() + expiresInSeconds * 1000;
        const { id, token } = await saveApiKey(store, { ...rest, tenant, scopes: [...scopes], expiresAt });
        response.status(201).set("cache-control", "no-store");
        return { id, key: token };
      },
    }),
    defineRoute({
      method: "delete",
      path: "/keys/:id",
      summary: "Revokes a key: the next request with it is refused, and logins by it end.",
      scope: "admin",
      params: idSchema,
      answer: z.object({ id: z.string(), revoked: z.literal(true) }),
      handle: async ({ context: { store }, principal, params: { id } }) => {
        const key = await readApiKey(store, id);
        if (!key || !manages(principal, key)) throw notFound("key", id);
        await revokeApiKey(store, id);
        return { id, revoked: true };
      },
    }),
  ],
};

function manages(principal: Principal, { tenant }: { tenant: string }): boolean {
  return principal.tenant === DEFAULT_TENANT || principal.tenant === tenant;
}

function shown({ guardrails, ...key }: ApiKey): z.infer<typeof keySchema> {
  const isExpired = key.expiresAt !== undefined && key.expiresAt <= Date.now();
  return {
    ...key,
    ...(guardrails && { guardrails: [...guardrails] }),
    role: roleOf(key) ?? null,
    state: key.revokedAt !== undefined ? "revoked" : isExpired ? "expired" : "valid",
  };
}
