import { z } from "zod";
import { InputError } from "../../shared/errors.ts";
import { allows } from "../../shared/scopes.ts";
import { notFound } from "../api-error.ts";
import { capped } from "../rest/capped.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const time = z.number().meta({ description: "Epoch milliseconds." });
const approvalSchema = z
  .object({
    jobId: z.string(),
    callId: z.string(),
    toolName: z.string(),
    arguments: z.unknown().optional().meta({ description: "With the scope content." }),
    agent: z.string().optional(),
    askedAt: time,
    expiresAt: time,
  })
  .meta({ id: "Approval", description: "A call of a tool that waits for a person." });
const idSchema = z.object({ id: z.string() });
const answerSchema = z.object({ id: z.string(), state: z.string(), waitsFor: z.array(z.string()) });
const by = z.string().max(200).optional().meta({ description: "Who says so; default: the key." });
const approveSchema = z.object({ callId: z.string(), by }).meta({ id: "Approve" });
const rejectSchema = z
  .object({ callId: z.string(), reason: z.string().max(2000).optional(), by })
  .meta({ id: "Reject" });

/** `/api/approvals` and the answers to them. */
export const approvalRoutes: RouteGroup = {
  name: "approvals",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/approvals",
      summary: "Lists the calls of tools that wait for a person, those asked first in front.",
      scope: "read",
      query: z.object({ limit: z.coerce.number().int().min(1).max(500).default(100) }),
      answer: z.object({ data: z.array(approvalSchema) }),
      handle: async ({ context, principal, query }) => {
        const approvals = await context.clientOf(principal).approvals(query);
        return { data: approvals.map((approval) => shown(approval, allows(principal.scopes, "content"))) };
      },
    }),
    defineRoute({
      method: "get",
      path: "/jobs/:id/approvals",
      summary: "Lists the calls of a job's tools that wait for a person.",
      scope: "read",
      params: idSchema,
      answer: z.object({ data: z.array(approvalSchema) }),
      handle: async (call) => {
        const { id } = call.params;
        const approvals = await jobOf(call).approvals();
        const withContent = allows(call.principal.scopes, "content");
        return { data: approvals.map((approval) => shown({ jobId: id, ...approval }, withContent)) };
      },
    }),
    defineRoute({
      method: "post",
      path: "/jobs/:id/approve",
      summary: "Allows a call of a tool that waits for a person; the job goes on.",
      scope: ["complete", "operate"],
      params: idSchema,
      body: approveSchema,
      answer: answerSchema,
      handle: async (call) => {
        const job = jobOf(call);
        await job.approve(call.body.callId, { by: call.body.by ?? call.principal.keyId });
        return { id: job.id, ...(await job.status()) };
      },
    }),
    defineRoute({
      method: "post",
      path: "/jobs/:id/reject",
      summary:
        "Forbids a call of a tool that waits for a person; the model reads the reason, and the job goes on.",
      scope: ["complete", "operate"],
      params: idSchema,
      body: rejectSchema,
      answer: answerSchema,
      handle: async (call) => {
        const job = jobOf(call);
        const { callId, reason, by: who = call.principal.keyId } = call.body;
        await job.reject(callId, reason, { by: who });
        return { id: job.id, ...(await job.status()) };
      },
    }),
  ],
};

function shown({ arguments: args, ...approval }: z.infer<typeof approvalSchema>, withContent: boolean) {
  return { ...approval, ...(withContent && { arguments: capped(args) }) };
}

function jobOf({
  context,
  principal,
  params: { id },
}: Pick<Call<{ id: string }>, "context" | "principal" | "params">) {
  try {
    return context.clientOf(principal).handle(id);
  } catch (error) {
    if (error instanceof InputError) throw notFound("job", id);
    throw error;
  }
}
