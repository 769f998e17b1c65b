import type { Queue } from "bullmq";
import { z } from "zod";
import { type QueueState, readQueueStates } from "../../producers/queue-states.ts";
import { pauseQueue, resumeQueue } from "../../producers/resume-queue.ts";
import { SCOPES } from "../../shared/scopes.ts";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import { readApiKey } from "../../store/api-key.ts";
import type { Store } from "../../store/store.ts";
import { withQueue } from "../../store/with-queue.ts";
import { ApiError, notFound } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const queueSchema = z
  .looseObject({
    queue: z.string(),
    key: z.string().meta({ description: "`entry:model`, or the queue's name." }),
    counts: z.object({
      waiting: z.number(),
      active: z.number(),
      delayed: z.number(),
      completed: z.number(),
      failed: z.number(),
    }),
    pausedMs: z.number(),
    pausedByOperator: z.boolean(),
    oldestMs: z.number().nullable().meta({ description: "Since the oldest job that waits was added." }),
    workers: z.number(),
    waitsFor: z.array(z.string()),
  })
  .meta({ id: "Queue" });
const nameSchema = z.object({ name: z.string() });
type Name = z.infer<typeof nameSchema>;
const keySchema = z
  .object({
    id: z.string().nullable(),
    name: z.string(),
    tenant: z.string(),
    scopes: z.array(z.string()),
    requests: z.number(),
    spentUsd: z.number(),
    maxCostUsd: z.number().nullable(),
    spentUsdToday: z.number().nullable(),
    maxCostUsdPerDay: z.number().nullable(),
    spentUsdThisMonth: z.number().nullable(),
    maxCostUsdPerMonth: z.number().nullable(),
    rpm: z.number().nullable(),
    createdAt: z.iso.datetime().nullable(),
    lastUsedAt: z.iso.datetime().nullable(),
    expiresAt: z.iso.datetime().nullable(),
  })
  .meta({ id: "KeyUsage" });

/** `/api/queues`, which all tenants share, and `/api/usage`. */
export const queueRoutes: RouteGroup = {
  name: "operations",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/queues",
      summary: "Lists the queues of all tenants: counts, limits and their use, pauses, workers.",
      scope: "read",
      answer: z.object({ data: z.array(queueSchema) }),
      handle: async ({ context: { store, settings } }) => {
        const states = await readQueueStates(store, settings);
        const oldest = await Promise.all(states.map((state) => oldestMs(store, state)));
        return { data: states.map((state, n) => ({ ...state, oldestMs: oldest[n] ?? null })) };
      },
    }),
    defineRoute({
      method: "post",
      path: "/queues/:name/pause",
      summary: "Lets workers take no jobs of a queue until it is resumed; for keys of the tenant default.",
      scope: "operate",
      params: nameSchema,
      answer: z.object({ paused: z.array(z.string()) }),
      handle: async (call) => {
        const { store } = call.context;
        return { paused: [await pauseQueue(store, nameOf(call))] };
      },
    }),
    defineRoute({
      method: "post",
      path: "/queues/:name/resume",
      summary: "Lifts a pause, the provider's or an operator's; for keys of the tenant default.",
      scope: "operate",
      params: nameSchema,
      answer: z.object({ resumed: z.array(z.string()) }),
      handle: async (call) => {
        const { store, settings } = call.context;
        return { resumed: await resumeQueue(store, settings, nameOf(call)) };
      },
    }),
    defineRoute({
      method: "get",
      path: "/usage",
      summary: "Says what the key that asks has used.",
      scope: SCOPES,
      answer: keySchema,
      handle: usageOf,
    }),
  ],
};

/** Returns how long the oldest job of a queue waits; undefined when none does, or it cannot be read. */
async function oldestMs(store: Store, { queue, counts }: QueueState): Promise<number | undefined> {
  if (counts.waiting === 0) return undefined;
  const first = (opened: Queue) => opened.getJobs(["waiting", "prioritized"], 0, 0, true).catch(() => []);
  const jobs = await withQueue(store, queue, first);
  const added = jobs.flatMap((job) => job?.timestamp ?? []);
  return added.length === 0 ? undefined : Math.max(0, Date.now() - Math.min(...added));
}

/** Queues belong to nobody alone, so that one tenant could stop the others. */
function nameOf({ principal, params: { name } }: Call<Name>): string {
  if (principal.tenant === DEFAULT_TENANT) return name;
  throw notFound("queue", name);
}

async function usageOf({ context, principal }: Call): Promise<z.infer<typeof keySchema>> {
  const { keyId, tenant, scopes } = principal;
  const key = keyId === undefined ? undefined : await readApiKey(context.store, keyId);
  if (keyId !== undefined && !key)
    throw new ApiError({ status: 401, code: "invalid_api_key", message: "this key is gone" });
  return {
    id: keyId ?? null,
    name: key?.name ?? "",
    tenant,
    scopes: [...scopes],
    requests: key?.requests ?? 0,
    spentUsd: key?.spentUsd ?? 0,
    maxCostUsd: key?.maxCostUsd ?? null,
    spentUsdToday: key?.spentUsdToday ?? null,
    maxCostUsdPerDay: key?.maxCostUsdPerDay ?? null,
    spentUsdThisMonth: key?.spentUsdThisMonth ?? null,
    maxCostUsdPerMonth: key?.maxCostUsdPerMonth ?? null,
    rpm: key?.rpm ?? null,
    createdAt: isoOrNull(key?.createdAt),
    lastUsedAt: isoOrNull(key?.lastUsedAt),
    expiresAt: isoOrNull(key?.expiresAt),
  };
}

function isoOrNull(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString();
}
