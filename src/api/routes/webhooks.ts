import { z } from "zod";
import { Webhooks } from "../../webhooks/webhooks.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;

const date = z.iso.datetime();
const trySchema = z
  .object({
    eventId: z.string(),
    type: z.string(),
    state: z.enum(["delivered", "retrying", "dead"]),
    attempt: z.number(),
    at: date,
    status: z.number().optional(),
    error: z.string().optional(),
    durationMs: z.number(),
    nextTryAt: date.optional(),
  })
  .meta({ id: "WebhookTry", description: "A try of a delivery; `status` is that of the receiver's answer." });
const fields = {
  id: z.string(),
  tenant: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  state: z.enum(["enabled", "disabled"]),
  disabledReason: z.string().optional(),
  createdAt: date,
  previousSecretUntil: date.optional(),
  dead: z.number().meta({ description: "Deliveries that are not tried any more and can be replayed." }),
  lastTry: trySchema.optional(),
};
const webhookSchema = z.object(fields).meta({ id: "Webhook" });
const secretSchema = z
  .object({ ...fields, secret: z.string() })
  .meta({ id: "WebhookSecret", description: "`secret` signs what is sent, and is told this once." });
const createSchema = z
  .strictObject({
    url: z.string(),
    events: z
      .array(z.string())
      .min(1)
      .max(50)
      .meta({ description: "`*`, all of a kind such as `batch.*`, or single types such as `job.failed`." }),
  })
  .meta({ id: "CreateWebhook" });
const rotateSchema = z
  .strictObject({
    overlapMs: z
      .number()
      .int()
      .min(0)
      .max(30 * 86_400_000)
      .meta({ description: "How long the secret before counts beside the new one; default: a day." })
      .optional(),
  })
  .meta({ id: "RotateWebhook" });
const replaySchema = z
  .strictObject({ eventId: z.string().meta({ description: "Absent: all that are dead." }).optional() })
  .meta({ id: "ReplayWebhook" });

/** `/api/webhooks`: who is told by HTTP of what has ended. A key sees and makes those of its tenant. */
export const webhookRoutes: RouteGroup = {
  name: "webhooks",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/webhooks",
      summary: "Lists the webhooks, the oldest first.",
      scope: "operate",
      answer: z.object({ data: z.array(webhookSchema) }),
      handle: async (call) => ({ data: await webhooksOf(call).list() }),
    }),
    defineRoute({
      method: "post",
      path: "/webhooks",
      summary: "Has events sent to a URL from now on; the answer has the secret of their signatures.",
      scope: "admin",
      body: createSchema,
      answer: secretSchema,
      handle: async (call) => {
        const { url, events } = call.body;
        const webhook = await webhooksOf(call).add(call.principal.tenant, url, events);
        call.response.status(201).location(`/api/webhooks/${webhook.id}`);
        return webhook;
      },
    }),
    defineRoute({
      method: "get",
      path: "/webhooks/:id",
      summary: "Says where a webhook stands.",
      scope: "operate",
      params: idSchema,
      answer: webhookSchema,
      handle: (call) => webhooksOf(call).get(call.params.id),
    }),
    defineRoute({
      method: "delete",
      path: "/webhooks/:id",
      summary: "Removes a webhook; what is under way to it is dropped.",
      scope: "admin",
      params: idSchema,
      answer: z.object({ id: z.string(), deleted: z.literal(true) }),
      handle: async (call: Call<Id>) => {
        await webhooksOf(call).remove(call.params.id);
        return { id: call.params.id, deleted: true };
      },
    }),
    defineRoute({
      method: "get",
      path: "/webhooks/:id/tries",
      summary: "Lists the latest 100 tries of its deliveries, the latest first.",
      scope: "operate",
      params: idSchema,
      answer: z.object({ data: z.array(trySchema) }),
      handle: async (call) => ({ data: await webhooksOf(call).tries(call.params.id) }),
    }),
    defineRoute({
      method: "post",
      path: "/webhooks/:id/test",
      summary: "Sends an event webhook.test at once, and says how that went.",
      scope: "operate",
      params: idSchema,
      answer: z.object({
        status: z.number().optional(),
        error: z.string().optional(),
        durationMs: z.number(),
      }),
      handle: async (call) => {
        const { status, error, durationMs } = await webhooksOf(call).test(call.params.id);
        return { status, error, durationMs };
      },
    }),
    defineRoute({
      method: "post",
      path: "/webhooks/:id/replay",
      summary: "Delivers again what is dead, or one event, under the old ids.",
      scope: "operate",
      params: idSchema,
      body: replaySchema,
      answer: z.object({ replayed: z.number() }),
      handle: async (call) => ({
        replayed: await webhooksOf(call).replay(call.params.id, call.body.eventId),
      }),
    }),
    defineRoute({
      method: "post",
      path: "/webhooks/:id/rotate",
      summary: "Makes a new secret, which the answer has; the one before counts beside it for a time.",
      scope: "admin",
      params: idSchema,
      body: rotateSchema,
      answer: secretSchema,
      handle: (call) => webhooksOf(call).rotate(call.params.id, call.body.overlapMs),
    }),
    defineRoute({
      method: "post",
      path: "/webhooks/:id/enable",
      summary: "Lets a webhook that was disabled have events again, from now on.",
      scope: "operate",
      params: idSchema,
      answer: webhookSchema,
      handle: (call) => webhooksOf(call).enable(call.params.id),
    }),
  ],
};

function webhooksOf({ context, principal }: Call): Webhooks {
  return new Webhooks(context, principal.tenant);
}
