import { z } from "zod";
import type { WorkflowHandle } from "../../client/workflow-handle.ts";
import { traceLink } from "../../telemetry/trace-link.ts";
import type { RunStatus } from "../../workflows/run-status.ts";
import { notFound } from "../api-error.ts";
import { errorOf, errorSchema, outcomeWithin, shownError, valueFields, waitSchema } from "../rest/outcome.ts";
import {
  forkSchema,
  listedSchema,
  listSchema,
  outcomeSchema,
  RUN_ID,
  runSchema,
  runSignalSchema,
  signalSchema,
  startSchema,
  stepSchema,
  updateSchema,
} from "../rest/run-schemas.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;

/** `/api/workflows` and `/api/runs`. */
export const runRoutes: RouteGroup = {
  name: "workflows",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/workflows",
      summary: "Lists the workflows that workers have, with the number of workers of each version.",
      scope: "read",
      answer: z.object({
        data: z.array(z.object({ workflow: z.string(), version: z.number(), workers: z.number() })),
      }),
      handle: async (call) => {
        const versions = await workflowsOf(call).versions();
        return { data: versions.map(({ workers, ...rest }) => ({ ...rest, workers: workers.length })) };
      },
    }),
    defineRoute({
      method: "post",
      path: "/workflows/:name/runs",
      summary: "Starts a run; the same runId with the same input is one run.",
      scope: "workflow",
      params: z.object({ name: z.string() }),
      body: startSchema,
      answer: runSchema,
      handle: async (call) => {
        const { input, ...options } = call.body;
        const run = await workflowsOf(call).start(call.params.name, input, options);
        call.response.status(201).location(`/api/runs/${run.id}`);
        return shown(call, await run.status());
      },
    }),
    defineRoute({
      method: "get",
      path: "/runs",
      summary: "Lists runs, the newest first; cursor is that of the page before.",
      scope: "read",
      query: listSchema,
      answer: z.object({ data: z.array(listedSchema), cursor: z.string().nullable() }),
      handle: async (call) => {
        const page = await workflowsOf(call).list(call.query);
        const data = page.map(({ listed }) => listed && { ...listed, startedAt: new Date(listed.startedAt) });
        return { data, cursor: page.cursor ?? null };
      },
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id",
      summary: "Says where a run stands.",
      scope: "read",
      params: idSchema,
      answer: runSchema,
      handle: async (call) => shown(call, await runOf(call).status()),
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id/steps",
      summary: "Lists a run's steps in the order in which they were asked for.",
      scope: "read",
      params: idSchema,
      answer: z.object({ data: z.array(stepSchema) }),
      handle: async (call) => {
        const steps = await runOf(call).steps();
        return { data: steps.map((step) => ({ ...step, error: step.error && shownError(step.error) })) };
      },
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id/result",
      summary: "Returns a run's output; 202 with its state while it has not ended.",
      scope: ["workflow", "content"],
      params: idSchema,
      query: waitSchema,
      answer: outcomeSchema,
      handle: resultOf,
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id/queries/:name",
      summary: "Returns a value that the run's function has published under a name.",
      scope: ["workflow", "content"],
      params: idSchema.extend({ name: z.string() }),
      answer: z.object({ value: z.unknown() }),
      handle: async (call) => ({ value: await runOf(call).query(call.params.name) }),
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id/signals",
      summary:
        "Lists the signals that a run's workflow declares, with their JSON Schemas, and those that it waits for.",
      scope: "read",
      params: idSchema,
      answer: z.object({ data: z.array(runSignalSchema) }),
      handle: async (call) => ({ data: await runOf(call).signals() }),
    }),
    defineRoute({
      method: "post",
      path: "/runs/:id/signals",
      summary:
        "Signals a run, with data that its workflow takes; a second signal with the same dedupeId changes nothing.",
      scope: "workflow",
      params: idSchema,
      body: signalSchema,
      answer: z.object({ id: z.string() }),
      handle: async (call) => {
        const { name, data, dedupeId } = call.body;
        await runOf(call).signal(name, data, { dedupeId });
        return { id: call.params.id };
      },
    }),
    defineRoute({
      method: "post",
      path: "/runs/:id/updates",
      summary: "Gives a run an update, and returns what its handler returns; 202 while it has not answered.",
      scope: "workflow",
      params: idSchema,
      body: updateSchema,
      answer: z
        .looseObject({
          updateId: z.string(),
          state: z.enum(["running", "succeeded", "failed"]),
          value: z.unknown().optional(),
          error: errorSchema.optional(),
        })
        .meta({ id: "UpdateResult" }),
      handle: update,
    }),
    defineRoute({
      method: "post",
      path: "/runs/:id/cancel",
      summary: "Ends a run, its steps and child runs.",
      scope: ["workflow", "operate"],
      params: idSchema,
      answer: runSchema,
      handle: async (call) => {
        const run = runOf(call);
        await run.cancel();
        return shown(call, await run.status());
      },
    }),
    defineRoute({
      method: "post",
      path: "/runs/:id/retry",
      summary: "Lets a failed run go on from the step that it failed with.",
      scope: ["workflow", "operate"],
      params: idSchema,
      answer: runSchema,
      handle: async (call) => {
        const run = runOf(call);
        await run.retry();
        return shown(call, await run.status());
      },
    }),
    defineRoute({
      method: "post",
      path: "/runs/:id/fork",
      summary: "Starts a run that takes over what came before a step.",
      scope: "workflow",
      params: idSchema,
      body: forkSchema,
      answer: runSchema,
      handle: async (call) => {
        const fork = await runOf(call).fork(call.body);
        call.response.status(201).location(`/api/runs/${fork.id}`);
        return shown(call, await fork.status());
      },
    }),
  ],
};

function workflowsOf({ context, principal }: Call) {
  return context.clientOf(principal).workflows;
}

function runOf(call: Call<Id>): WorkflowHandle {
  const { id } = call.params;
  if (!RUN_ID.test(id)) throw notFound("run", id);
  return workflowsOf(call).open(id);
}

/** What the function has published is content: a query asks for it. */
function shown({ context }: Pick<Call, "context">, { metadata: _, error, ...status }: RunStatus) {
  const traceUrl = traceLink(context.settings, status.traceId);
  return { ...status, traceUrl, ...(error && { error: shownError(error) }) };
}

async function resultOf(call: Call<Id, z.infer<typeof waitSchema>>): Promise<unknown> {
  const run = runOf(call);
  const { id } = run;
  const { waitMs } = call.query;
  const { state } = await run.status();
  const hasEnded = state !== "running";
  const outcome =
    hasEnded || waitMs > 0
      ? await outcomeWithin(call, hasEnded ? undefined : waitMs, (wait) => run.result(wait))
      : undefined;
  if (outcome && "value" in outcome)
    return { id, state: "succeeded", ...valueFields(outcome.value, "the output") };
  // Of a run that no worker's code fits the error is not its end.
  const now = outcome && (await run.status());
  if (now && now.state !== "running")
    return { id, state: now.state, error: outcome && errorOf(outcome.error) };
  call.response.status(202);
  return shown(call, now ?? (await run.status()));
}

async function update(call: Call<Id, unknown, z.infer<typeof updateSchema>>): Promise<unknown> {
  const run = runOf(call);
  const { name, data, waitMs, updateId = call.requestId } = call.body;
  await run.status();
  const asked = await outcomeWithin(call, waitMs, (wait) => run.update(name, data, { updateId, ...wait }));
  if (asked === undefined) {
    call.response.status(202);
    return { updateId, state: "running" };
  }
  if ("value" in asked)
    return { updateId, state: "succeeded", ...valueFields(asked.value, "the answer of the update") };
  const { code } = asked.error;
  if (code === "run_over" || code === "not_serializable") throw asked.error;
  return { updateId, state: "failed", error: errorOf(asked.error) };
}
