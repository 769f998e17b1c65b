import { z } from "zod";
import { readJobLife } from "../../producers/job-life.ts";
import { ownerOf } from "../../producers/job-lookup.ts";
import { searchJobs } from "../../producers/job-search.ts";
import { allows } from "../../shared/scopes.ts";
import { isOwnedBy, tenantName } from "../../shared/tenant.ts";
import { readConversation, readSums } from "../../store/conversation.ts";
import { traceLink } from "../../telemetry/trace-link.ts";
import { notFound } from "../api-error.ts";
import { capped } from "../rest/capped.ts";
import { shownError } from "../rest/outcome.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;
const time = z.number().meta({ description: "Epoch milliseconds." });
const spanSchema = z
  .object({ kind: z.string(), from: time, to: time.optional() })
  .meta({ id: "Span", description: "What a stretch of time went to: a wait, calls of the model, tools." });
const searchSchema = z.object({
  text: z.string().max(200).optional().meta({
    description: "Part of an id (job, batch, conversation, run), a custom_id, or of how a prompt begins.",
  }),
  state: z.enum(["waiting", "delayed", "active", "succeeded", "failed"]).optional(),
  queue: z.string().max(300).optional().meta({ description: "A queue's name, or `entry:model`." }),
  conversations: z
    .stringbool()
    .optional()
    .meta({
      override: { type: "string", enum: ["true", "false"] },
      description: "Only jobs of conversations.",
    }),
  limit: z.coerce.number().int().min(1).max(200).default(100),
});
const listedSchema = z
  .looseObject({
    id: z.string(),
    queue: z.string(),
    key: z.string(),
    state: z.string(),
    preview: z.string().optional(),
    addedAt: time,
  })
  .meta({ id: "ListedJob" });
const lifeSchema = z
  .looseObject({
    id: z.string(),
    state: z.string(),
    waitsFor: z.array(z.string()),
    spans: z.array(spanSchema),
    log: z.array(z.string()).meta({ description: "A line for each attempt that was not the last one." }),
    traceUrl: z.string().optional().meta({ description: "By the setting GLUELLM_TRACE_URL." }),
  })
  .meta({ id: "JobLife" });
const conversationSchema = z
  .looseObject({
    id: z.string(),
    turns: z.number(),
    calls: z.number(),
    costUsd: z.number().nullable(),
    data: z.array(z.looseObject({ role: z.string(), at: time })),
  })
  .meta({ id: "Conversation" });

const MAX_MESSAGES = 200;
const CONVERSATION_ID = /^[\w.-]{1,128}$/;

/** Jobs and conversations as people look at them. */
export const jobViewRoutes: RouteGroup = {
  name: "jobs",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/jobs",
      summary: "Lists the latest jobs that fit; previews are shown, and searched, with the scope content.",
      scope: "read",
      query: searchSchema,
      answer: z.object({ data: z.array(listedSchema), looked: z.number(), isPart: z.boolean() }),
      handle: async ({ context, principal, query }) => {
        const withContent = allows(principal.scopes, "content");
        const filter = { ...query, tenant: principal.tenant, withContent };
        const { jobs, ...rest } = await searchJobs(context.store, filter);
        return { data: jobs, ...rest };
      },
    }),
    defineRoute({
      method: "get",
      path: "/jobs/:id/life",
      summary:
        "Tells a job's life from its enqueueing to its end; prompts and answers with the scope content.",
      scope: "read",
      params: idSchema,
      answer: lifeSchema,
      handle: lifeOf,
    }),
    defineRoute({
      method: "get",
      path: "/conversations/:id",
      summary: "Returns a conversation's sums and its latest 200 messages.",
      scope: "content",
      params: idSchema,
      answer: conversationSchema,
      handle: conversationOf,
    }),
  ],
};

async function lifeOf({ context, principal, params: { id } }: Call<Id>): Promise<unknown> {
  const { store } = context;
  const owner = await ownerOf(store, { id });
  if (!owner || !isOwnedBy(principal.tenant, owner)) throw notFound("job", id);
  const life = await readJobLife(store, id, { withContent: allows(principal.scopes, "content") });
  if (!life) throw notFound("job", id);
  // The job of an activity has no record of its own.
  const status = await context
    .clientOf(principal)
    .handle(id)
    .status()
    .catch(() => ({ state: life.endedAt === undefined ? "active" : "succeeded", waitsFor: [] }));
  const { content, outcome, conversation } = life;
  const prefix = tenantName(principal.tenant, "").length;
  return {
    ...life,
    ...status,
    traceUrl: traceLink(context.settings, life.traceId),
    conversation: conversation && { ...conversation, id: conversation.id?.slice(prefix) },
    outcome: outcome && {
      ...outcome,
      error: outcome.error && shownError(outcome.error),
      tools: outcome.tools.map((tool) => ({ ...tool, content: capped(tool.content) })),
    },
    content: capped(content),
  };
}

async function conversationOf({ context, principal, params: { id } }: Call<Id>): Promise<unknown> {
  if (!CONVERSATION_ID.test(id)) throw notFound("conversation", id);
  const ref = { id: tenantName(principal.tenant, id), mustExist: false };
  const sums = await readSums(context.store, ref);
  if (sums.turns === 0) throw notFound("conversation", id);
  const turns = await readConversation(context.store, ref);
  const messages = turns.flatMap(({ createdAt, asked, answer }, turn) => [
    ...asked.map((message) => ({ ...message, at: createdAt, turn, vendor_state: undefined })),
    ...(answer?.messages ?? []).map((message) => ({
      ...message,
      ...{ at: answer?.at ?? createdAt, turn, vendor_state: undefined },
    })),
  ]);
  const { calls, promptTokens, completionTokens, costUsd, unpriced } = sums;
  return {
    id,
    ...{ turns: sums.turns, calls, promptTokens, completionTokens },
    costUsd: unpriced > 0 ? null : costUsd,
    hidden: Math.max(0, messages.length - MAX_MESSAGES),
    data: messages.slice(-MAX_MESSAGES).map((message) => capped(message)),
  };
}
