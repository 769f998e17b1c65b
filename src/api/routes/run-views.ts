import { z } from "zod";
import { checkSelection } from "../../client/run-selection.ts";
import { isOwnedBy } from "../../shared/tenant.ts";
import { listRuns, readRunSums } from "../../store/run-list.ts";
import { type RunRecord, readRun } from "../../store/run-record.ts";
import { readTimeline } from "../../workflows/run-timeline.ts";
import { inputOf, outputOf } from "../../workflows/run-values.ts";
import { notFound } from "../api-error.ts";
import { askedTenant, TENANT_DESCRIPTION } from "../rest/asked-tenant.ts";
import { capped } from "../rest/capped.ts";
import { shownError } from "../rest/outcome.ts";
import { listSchema, RUN_ID, stepSchema } from "../rest/run-schemas.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;
const pageSchema = z.object({
  from: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .meta({ description: "The place of the first step, from 0." }),
  limit: z.coerce.number().int().min(1).max(500).default(200),
});
const searchSchema = listSchema.extend({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  text: z.string().max(200).optional().meta({ description: "Part of an id, a workflow's name or a tag." }),
  tenant: z.string().max(200).optional().meta({ description: TENANT_DESCRIPTION }),
  minUsd: z.coerce.number().min(0).optional(),
  minMs: z.coerce.number().min(0).optional().meta({ description: "Runs that took at least so long." }),
});
type Search = z.infer<typeof searchSchema>;

/** Pages of the list that one request looks through. */
const MAX_PAGES = 10;

/** Runs as people look at them. */
export const runViewRoutes: RouteGroup = {
  name: "workflows",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/run-search",
      summary:
        "Lists runs with their times, tokens and cost, the newest first; cursor is that of the page before.",
      scope: "read",
      query: searchSchema,
      answer: z.object({ data: z.array(z.looseObject({ id: z.string() })), cursor: z.string().nullable() }),
      handle: search,
    }),
    defineRoute({
      method: "get",
      path: "/workflow-schemas",
      summary: "Returns the JSON Schemas of the inputs of the workflows that runs can be started of here.",
      scope: "read",
      answer: z.object({ data: z.record(z.string(), z.unknown()) }),
      handle: async (call) => ({ data: call.context.clientOf(call.principal).workflows.inputSchemas() }),
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id/timeline",
      summary:
        "Returns a page of a run's steps, with where the time of each went and what was not paid again.",
      scope: "read",
      params: idSchema,
      query: pageSchema,
      answer: z.object({ data: z.array(stepSchema), total: z.number(), failed: z.array(z.number()) }),
      handle: async (call) => {
        const { steps, ...rest } = await readTimeline(call.context.store, await ownRun(call), call.query);
        return {
          data: steps.map((step) => ({ ...step, error: step.error && shownError(step.error) })),
          ...rest,
        };
      },
    }),
    defineRoute({
      method: "get",
      path: "/runs/:id/content",
      summary: "Returns a run's input and output, shortened for a page.",
      scope: "content",
      params: idSchema,
      answer: z.object({ input: z.unknown(), output: z.unknown() }),
      handle: async (call) => {
        const { store } = call.context;
        const run = await ownRun(call);
        // A blob may be gone before the record that refers to it.
        const input = await inputOf(store, run).catch(() => undefined);
        const output =
          run.status === "succeeded" ? await outputOf(store, run).catch(() => undefined) : undefined;
        return { input: capped(input), output: capped(output) };
      },
    }),
  ],
};

async function ownRun({ context, principal, params: { id } }: Call<Id>): Promise<RunRecord> {
  const run = RUN_ID.test(id) ? await readRun(context.store, id) : undefined;
  if (!run || !isOwnedBy(principal.tenant, run)) throw notFound("run", id);
  return run;
}

async function search({ context, principal, query }: Call<unknown, Search>): Promise<unknown> {
  const { text, minUsd = 0, minMs = 0, cursor, limit, tenant, ...selection } = query;
  const filter = { ...checkSelection(selection), tenant: askedTenant(principal, tenant) };
  const wanted = text?.toLowerCase();
  const data: unknown[] = [];
  let at = cursor;
  for (let page = 0; page < MAX_PAGES && data.length < limit; page++) {
    const { runs, cursor: next } = await listRuns(context.store, filter, limit - data.length, at);
    const sums = await readRunSums(
      context.store,
      runs.map(({ id }) => id),
    );
    for (const [n, listed] of runs.entries()) {
      const sum = sums[n];
      if (!sum) continue;
      const tookMs = (sum.finishedAt ?? Date.now()) - listed.startedAt;
      const isNamed = [listed.id, listed.workflow, ...listed.tags].some((part) =>
        part.toLowerCase().includes(wanted ?? ""),
      );
      if (isNamed && sum.costUsd >= minUsd && tookMs >= minMs) data.push({ ...listed, ...sum });
    }
    at = next;
    if (at === undefined) break;
  }
  return { data, cursor: at ?? null };
}
