import { z } from "zod";
import { listActs } from "../../history/audit-list.ts";
import { verifyAudit } from "../../history/audit-verify.ts";
import { readAuditState } from "../../store/audit.ts";
import { ApiError } from "../api-error.ts";
import { askHistory } from "../rest/ask-history.ts";
import { askedTenant, TENANT_DESCRIPTION } from "../rest/asked-tenant.ts";
import { defineRoute, type RouteGroup } from "../route.ts";

const time = z.iso.datetime({ offset: true });
const part = (of: string) =>
  z
    .string()
    .max(500)
    .meta({ description: `A part of ${of}.` })
    .optional();
const query = z.strictObject({
  since: time.meta({ description: "From this time on; default: 24 hours ago." }).optional(),
  until: time.meta({ description: "Before this time." }).optional(),
  actor: part("who did it"),
  action: part("what was done"),
  target: part("the id or name it was done to"),
  tenant: z.string().meta({ description: TENANT_DESCRIPTION }).optional(),
  before: z.coerce
    .number()
    .int()
    .min(1)
    .meta({ description: "Before this place, for the next page." })
    .optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});
const actSchema = z
  .object({
    ...{ seq: z.number(), at: z.number(), actor: z.string(), role: z.string().nullable() },
    ...{ address: z.string().nullable(), tenant: z.string(), action: z.string() },
    ...{ target: z.string().nullable(), outcome: z.string().nullable() },
    ...{ beforeDigest: z.string().nullable(), afterDigest: z.string().nullable() },
    requestId: z.string().nullable(),
  })
  .meta({ id: "AuditedAct", description: "`outcome`: `done`, a code of an error, or null: not ended." });

/** `/api/audit`: who did what. */
export const auditRoutes: RouteGroup = {
  name: "audit",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/audit",
      summary: "Lists acts, the latest first, and says whether acts are written down.",
      scope: "admin",
      query,
      answer: z.object({
        isOn: z.boolean(),
        waiting: z.number(),
        number: z.number(),
        data: z.array(actSchema),
      }),
      handle: async ({ context, principal, query: { since, until, tenant, ...rest } }) => {
        const { since: onSince, waiting, number } = await readAuditState(context.store);
        const acts = await askHistory(context, (history) =>
          listActs(history, {
            ...rest,
            ...(since !== undefined && { since: Date.parse(since) }),
            ...(until !== undefined && { until: Date.parse(until) }),
            tenant: askedTenant(principal, tenant),
          }),
        );
        const data = acts.map(({ at, ...act }) => ({ ...act, at: at.getTime() }));
        return { isOn: onSince !== undefined, waiting, number, data };
      },
    }),
    defineRoute({
      method: "get",
      path: "/audit/verify",
      summary: "Checks the chain: gaps, changes, a lowered end. It reads all of it.",
      scope: "admin",
      answer: z.looseObject({ rows: z.number(), waiting: z.number(), faults: z.array(z.looseObject({})) }),
      handle: async ({ context, principal }) => {
        const { keys } = context.settings.audit;
        // It is of all tenants.
        askedTenant(principal, "*");
        if (keys.length === 0)
          throw new ApiError({
            status: 503,
            code: "missing_audit_key",
            message: "this process has no GLUELLM_AUDIT_KEY, without which the audit cannot be checked",
          });
        return askHistory(context, (history) => verifyAudit(context.store, history, { keys }));
      },
    }),
  ],
};
