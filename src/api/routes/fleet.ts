import { z } from "zod";
import { ERROR_DIMENSIONS, readErrorReport } from "../../producers/error-report.ts";
import { readQueueStates } from "../../producers/queue-states.ts";
import { readWorkerStates } from "../../producers/worker-states.ts";
import { configuredBudget } from "../../shared/budget.ts";
import { parseCompletionQueueName } from "../../shared/queue-name.ts";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import { workerStateSchema } from "../../shared/worker-state.ts";
import { usageSeries } from "../../store/usage.ts";
import { ApiError, badParameter } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const limitSchema = z.object({ perMinute: z.number(), source: z.enum(["configured", "learned"]) });
const keyLimitsSchema = z
  .looseObject({
    key: z.string().meta({ description: "`entry:model`." }),
    bucket: z.string().nullable().meta({ description: "What several keys share one budget by." }),
    limits: z
      .object({ rpm: limitSchema, tpm: limitSchema, itpm: limitSchema, otpm: limitSchema })
      .partial()
      .meta({
        description: "Those in force: the lower one of what is configured and what the provider states.",
      }),
    configured: z.looseObject({}).nullable().meta({ description: "What GLUELLM_LIMITS says of the key." }),
    used: z
      .object({ requests: z.number(), tokens: z.number(), outputTokens: z.number(), rateLimited: z.number() })
      .meta({ description: "Of the last minute, in the fleet." }),
    breaker: z.looseObject({ state: z.string() }),
    pausedMs: z.number().meta({ description: "Until the provider's pause ends; 0 without one." }),
    longPause: z.looseObject({ until: z.number(), reason: z.string() }).nullable(),
    pausedByOperator: z.boolean(),
  })
  .meta({ id: "KeyLimits" });
const workerSchema = z.looseObject(workerStateSchema.shape).meta({
  id: "Worker",
  description: "What a worker process says of itself; null: its version does not say.",
});

const date = z.iso.datetime();
const figures = { failed: z.number(), failedCalls: z.number() };
const errorReportSchema = z
  .object({
    since: date,
    until: date,
    ...figures,
    succeeded: z.number(),
    spentUsd: z.number().optional(),
    groups: z.array(
      z.looseObject({
        ...figures,
        hour: date.optional(),
        example: z
          .object({ kind: z.enum(["job", "run"]), id: z.string(), at: date, message: z.string() })
          .optional(),
      }),
    ),
    patterns: z.array(
      z.looseObject({ pattern: z.string(), count: z.number(), text: z.string(), hint: z.string() }),
    ),
  })
  .meta({ id: "ErrorReport" });
const errorQuerySchema = z.object({
  since: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: "Counts are by the hour: that of this time is the first. Default: one hour ago." }),
  until: z.iso.datetime({ offset: true }).optional(),
  by: z
    .string()
    .default("code,model")
    .meta({ description: `Of ${ERROR_DIMENSIONS.join(", ")}, with commas between.` }),
});
type ErrorsCall = Call<unknown, z.infer<typeof errorQuerySchema>>;

/** `/api/workers`, `/api/limits`, `/api/errors`: how the fleet is. */
export const fleetRoutes: RouteGroup = {
  name: "operations",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/workers",
      summary:
        "Lists the worker processes: version, load, memory, clock, what they can run; for keys of the tenant default.",
      scope: "read",
      answer: z.object({ data: z.array(workerSchema) }),
      handle: async (call) => {
        requireDefaultTenant(call);
        return { data: await readWorkerStates(call.context.store) };
      },
    }),
    defineRoute({
      method: "get",
      path: "/limits",
      summary:
        "Lists each model's limits, configured and learned, with their use, pauses and circuit breaker.",
      scope: "read",
      answer: z.object({ data: z.array(keyLimitsSchema) }),
      handle: async ({ context: { store, settings } }) => {
        const states = await readQueueStates(store, settings);
        const ofModels = states.filter(({ queue }) => parseCompletionQueueName(queue));
        return {
          data: ofModels.map(
            ({ key, bucket, limits, used, breaker, pausedMs, longPause, pausedByOperator }) => ({
              ...{ key, bucket: bucket ?? null, limits },
              configured: configuredBudget(settings.limits, key) ?? null,
              ...{ used, breaker, pausedMs, longPause: longPause ?? null, pausedByOperator },
            }),
          ),
        };
      },
    }),
    defineRoute({
      method: "get",
      path: "/limits/use",
      summary: "Returns what a model used in the last minutes, in steps of a few seconds.",
      scope: "read",
      query: z.object({ key: z.string().max(300).meta({ description: "`entry:model`." }) }),
      answer: z.object({
        stepMs: z.number(),
        data: z.array(
          z.object({
            at: z.number(),
            requests: z.number(),
            tokens: z.number(),
            outputTokens: z.number(),
            rateLimited: z.number(),
          }),
        ),
      }),
      handle: async ({ context: { store }, query }) => {
        const { stepMs, steps } = await usageSeries(store, query.key);
        return { stepMs, data: steps };
      },
    }),
    defineRoute({
      method: "get",
      path: "/errors",
      summary:
        "Counts what failed, by what is asked for, with examples and what stands out; other tenants' keys see their own.",
      scope: "read",
      query: errorQuerySchema,
      answer: errorReportSchema,
      handle: errorsOf,
    }),
  ],
};

/** Workers belong to nobody, and their hosts are no tenant's business. */
function requireDefaultTenant({ principal }: Call): void {
  if (principal.tenant === DEFAULT_TENANT) return;
  throw new ApiError({
    status: 403,
    code: "operators_only",
    message: "workers are shown to keys of the tenant default alone",
    hint: "ask with an operator's key",
  });
}

async function errorsOf({ context: { store }, principal: { tenant }, query }: ErrorsCall) {
  const by = query.by.split(",").map((name) => {
    const known = ERROR_DIMENSIONS.find((each) => each === name.trim());
    if (known) return known;
    throw badParameter("by", `"${name.slice(0, 40)}" is none of ${ERROR_DIMENSIONS.join(", ")}`);
  });
  return readErrorReport(store, {
    ...(query.since !== undefined && { since: new Date(query.since) }),
    ...(query.until !== undefined && { until: new Date(query.until) }),
    by,
    tenant: tenant === DEFAULT_TENANT ? undefined : tenant,
  });
}
