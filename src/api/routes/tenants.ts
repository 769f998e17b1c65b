import { z } from "zod";
import { readTenantUse } from "../../producers/tenant-use.ts";
import { DEFAULT_TENANT, tenantSchema } from "../../shared/tenant.ts";
import { removeTenant, saveTenant, tenantSettingsSchema } from "../../store/tenant.ts";
import { notFound } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const HOUR_MS = 3_600_000;
const MAX_HOURS = 720;

const nameSchema = z.object({ name: tenantSchema });
const settingsSchema = tenantSettingsSchema.meta({
  id: "TenantSettings",
  description: "Absent: no limit, and a retention as for all.",
});
const changeSchema = z
  .strictObject(
    Object.fromEntries(
      Object.entries(tenantSettingsSchema.shape).map(([name, schema]) => [name, schema.nullable()]),
    ) as {
      [Name in keyof typeof tenantSettingsSchema.shape]: z.ZodNullable<
        (typeof tenantSettingsSchema.shape)[Name]
      >;
    },
  )
  .meta({ id: "TenantChange", description: "null: not set any more. What is not named stays." });
const useSchema = z
  .object({
    tenant: z.string(),
    ended: z.number(),
    failed: z.number(),
    openJobs: z.number(),
    waitingRows: z.number(),
    settings: settingsSchema,
    isDamaged: z.boolean(),
    spentUsdToday: z.number().nullable(),
    spentUsdThisMonth: z.number().nullable(),
  })
  .meta({ id: "TenantUse" });
const querySchema = z.object({ hours: z.coerce.number().int().min(1).max(MAX_HOURS).default(24) });

/** `/api/tenants`: parts and limits of those who share the fleet. */
export const tenantRoutes: RouteGroup = {
  name: "operations",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/tenants",
      summary:
        "Lists tenants with their settings and use; a key of another tenant than default sees its own.",
      scope: "read",
      query: querySchema,
      answer: z.object({ data: z.array(useSchema) }),
      handle: async ({ context: { store }, principal, query: { hours } }) => {
        const all = await readTenantUse(store, hours * HOUR_MS);
        const isSeen = ({ tenant }: { tenant: string }) =>
          principal.tenant === DEFAULT_TENANT || principal.tenant === tenant;
        return {
          data: all.filter(isSeen).map((use) => ({
            ...use,
            spentUsdToday: use.spentUsdToday ?? null,
            spentUsdThisMonth: use.spentUsdThisMonth ?? null,
          })),
        };
      },
    }),
    defineRoute({
      method: "patch",
      path: "/tenants/:name",
      summary: "Changes a tenant's part, limits and retention; for keys of the tenant default.",
      scope: "operate",
      params: nameSchema,
      body: changeSchema,
      answer: settingsSchema,
      handle: async (call) => saveTenant(call.context.store, nameOf(call), call.body),
    }),
    defineRoute({
      method: "delete",
      path: "/tenants/:name",
      summary: "Forgets a tenant's settings; for keys of the tenant default.",
      scope: "operate",
      params: nameSchema,
      answer: z.object({ removed: z.boolean() }),
      handle: async (call) => ({ removed: await removeTenant(call.context.store, nameOf(call)) }),
    }),
  ],
};

/** No tenant sets its own limits, nor learns who else there is. */
function nameOf({ principal, params: { name } }: Call<z.infer<typeof nameSchema>, unknown, unknown>): string {
  if (principal.tenant === DEFAULT_TENANT) return name;
  throw notFound("tenant", name);
}
