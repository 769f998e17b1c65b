import { z } from "zod";
import type { HistoryDatabase } from "../../history/database.ts";
import type { ReportOptions } from "../../history/dimensions.ts";
import * as lists from "../../history/lists.ts";
import { pastRun } from "../../history/past-run.ts";
import * as reports from "../../history/reports.ts";
import { allows } from "../../shared/scopes.ts";
import { openContents } from "../../store/past-contents.ts";
import { ApiError, notFound } from "../api-error.ts";
import { askHistory } from "../rest/ask-history.ts";
import { askedTenant, TENANT_DESCRIPTION } from "../rest/asked-tenant.ts";
import { type Call, defineRoute, type Route, type RouteGroup } from "../route.ts";

const time = z.iso.datetime({ offset: true });
const common = {
  since: time.meta({ description: "From this time on; default: 24 hours ago." }).optional(),
  until: time.meta({ description: "Before this time." }).optional(),
  model: z.string().meta({ description: "Of this `provider:model`." }).optional(),
  tenant: z.string().meta({ description: TENANT_DESCRIPTION }).optional(),
  limit: z.coerce.number().int().min(1).max(10_000).optional(),
};
const reportQuery = z.strictObject({
  ...common,
  by: z.string().meta({ description: "What it is grouped by, with commas: `model,tenant,day`." }).optional(),
});
const slowQuery = z.strictObject({ ...common, of: z.enum(["calls", "steps", "runs"]).optional() });
const jobsQuery = z.strictObject({
  ...common,
  state: z.enum(["succeeded", "failed", "cancelled"]).optional(),
  code: z.string().optional(),
  batch: z.string().optional(),
  run: z.string().optional(),
  conversation: z.string().optional(),
  customId: z.string().optional(),
  text: z
    .string()
    .max(1000)
    .meta({ description: "A part of an id, a custom_id, or a kept text." })
    .optional(),
});
type Query = z.infer<typeof reportQuery> & z.infer<typeof slowQuery> & z.infer<typeof jobsQuery>;

const group = z.record(z.string(), z.string());
const figures = z.object({
  p50: z.number().nullable(),
  p95: z.number().nullable(),
  p99: z.number().nullable(),
});
const answers = {
  spend: z.looseObject({ group, calls: z.number(), costUsd: z.number(), unpriced: z.number() }),
  latency: z.looseObject({ group, calls: z.number(), latencyMs: figures, firstTokenMs: figures }),
  failures: z.looseObject({ group, count: z.number(), example: z.looseObject({ id: z.string() }) }),
  cache: z.looseObject({ group, answers: z.number(), fromCache: z.number(), promptShare: z.number() }),
  runs: z.looseObject({ group, runs: z.number(), failed: z.number(), durationMs: figures }),
};

/** `/api/history`: what has ended, out of the database. */
export const historyRoutes: RouteGroup = {
  name: "history",
  basePath: "/api",
  dialect: "openai",
  routes: [
    report("spend", "Says what calls cost, by default by model.", reports.spend),
    report(
      "latency",
      "Says how long calls took and waited, as percentiles, by default by model.",
      reports.latency,
    ),
    report(
      "failures",
      "Says what went wrong, by default by code, with the latest example.",
      reports.failures,
    ),
    report("cache", "Says what the caches saved, by default by model.", reports.cacheUse),
    report("runs", "Says what became of runs, by default by workflow.", reports.runs),
    defineRoute({
      method: "get",
      path: "/history/slowest",
      summary: "Lists what took longest: calls, steps or runs.",
      scope: "read",
      query: slowQuery,
      answer: z.object({ data: z.array(z.looseObject({ id: z.string(), durationMs: z.number() })) }),
      handle: async (call) => data(call, (history) => lists.slowest(history, optionsOf(call))),
    }),
    defineRoute({
      method: "get",
      path: "/history/batches",
      summary: "Lists batches that changed in the time, the newest first.",
      scope: "read",
      query: z.strictObject(common),
      answer: z.object({ data: z.array(z.looseObject({ id: z.string(), state: z.string() })) }),
      handle: async (call) => data(call, (history) => lists.batches(history, optionsOf(call))),
    }),
    defineRoute({
      method: "get",
      path: "/history/jobs",
      summary:
        "Searches jobs that have ended, the latest first; their texts for keys with the scope content.",
      scope: "read",
      query: jobsQuery,
      answer: z.object({ data: z.array(z.looseObject({ id: z.string(), state: z.string() })) }),
      handle: searchJobs,
    }),
    defineRoute({
      method: "get",
      path: "/history/runs/:id",
      summary: "Shows a run that has ended, with its steps.",
      scope: "read",
      params: z.object({ id: z.string() }),
      answer: z.looseObject({ id: z.string(), steps: z.array(z.looseObject({ step: z.string() })) }),
      handle: async (call) => {
        const { id } = call.params;
        const run = await askHistory(call.context, (history) =>
          pastRun(history, id, { tenant: call.principal.tenant }),
        );
        if (!run) throw notFound("run", id);
        return run;
      },
    }),
  ],
};

function report<Row>(
  name: keyof typeof answers,
  summary: string,
  question: (history: HistoryDatabase, options: ReportOptions) => Promise<Row[]>,
): Route {
  return defineRoute({
    method: "get",
    path: `/history/${name}`,
    summary,
    scope: "read",
    query: reportQuery,
    answer: z.object({ data: z.array(answers[name]) }),
    handle: async (call) => data(call, (history) => question(history, optionsOf(call))),
  });
}

async function searchJobs(call: Call<unknown, z.infer<typeof jobsQuery>>) {
  const { text } = call.query;
  const mayRead = allows(call.principal.scopes, "content");
  if (text !== undefined && !mayRead)
    throw new ApiError({
      status: 403,
      code: "missing_scope",
      message: 'a search of texts needs the scope "content"',
    });
  const found = await askHistory(call.context, (history) => lists.jobs(history, optionsOf(call)));
  if (!mayRead) return { data: found.map((job) => ({ ...job, prompt: null, answer: null })) };
  return { data: await Promise.all(found.map((job) => openContents(call.context.store, job))) };
}

async function data<Row>(
  call: Call<unknown, Partial<Query>>,
  question: (history: HistoryDatabase) => Promise<Row[]>,
) {
  return { data: await askHistory(call.context, question) };
}

function optionsOf({ query, principal }: Call<unknown, Partial<Query>>): ReportOptions {
  const { since, until, by, tenant, ...rest } = query;
  return {
    ...rest,
    ...(since !== undefined && { since: Date.parse(since) }),
    ...(until !== undefined && { until: Date.parse(until) }),
    ...(by !== undefined && { by: by.split(",").filter(Boolean) }),
    tenant: askedTenant(principal, tenant),
  };
}
