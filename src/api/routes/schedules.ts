import { z } from "zod";
import type { Schedule, ScheduledCompletion, ScheduleOptions } from "../../client/schedules.ts";
import { allows } from "../../shared/scopes.ts";
import { SERVED_ENDPOINTS } from "../../store/served-batch-record.ts";
import { ApiError, notFound } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;
const SCHEDULE_ID = /^[\w.-]{1,100}$/;

const date = z.iso.datetime();
const scheduleSchema = z
  .looseObject({
    id: z.string(),
    kind: z.enum(["workflow", "completion", "batch"]),
    subject: z.string(),
    state: z.enum(["active", "paused"]),
    cron: z.string().optional(),
    everyMs: z.number().optional(),
    timezone: z.string(),
    overlap: z.string(),
    catchUp: z.string(),
    createdAt: date,
    nextRun: date.optional(),
    running: z.array(z.string()),
    ticks: z.array(z.looseObject({ outcome: z.string(), plannedAt: date })),
  })
  .meta({ id: "Schedule" });
const createSchema = z
  .strictObject({
    id: z.string(),
    workflow: z.string().optional(),
    input: z.unknown().optional(),
    completion: z
      .union([z.string(), z.looseObject({ message: z.unknown() })])
      .meta({ description: "A prompt, or `message` with the options of a call." })
      .optional(),
    batch: z
      .strictObject({
        inputFileId: z.string(),
        endpoint: z.enum(SERVED_ENDPOINTS).optional(),
        window: z.string().optional(),
        metadata: z.record(z.string(), z.string()).optional(),
      })
      .optional()
      .meta({ description: "The batch that each tick makes of a file of purpose `batch`." }),
    cron: z.string().optional(),
    everyMs: z.number().optional(),
    timezone: z.string().optional(),
    overlap: z.enum(["skip", "queue", "allow"]).optional(),
    catchUp: z.enum(["none", "last", "all"]).optional(),
    maxCatchUp: z.number().optional(),
    priority: z.number().optional(),
    deadlineMs: z.number().optional(),
    tags: z.array(z.string()).optional(),
  })
  .meta({ id: "CreateSchedule" });

/** `/api/schedules`. */
export const scheduleRoutes: RouteGroup = {
  name: "schedules",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/schedules",
      summary: "Lists all schedules, the first created first.",
      scope: "read",
      answer: z.object({ data: z.array(scheduleSchema) }),
      handle: async (call) => ({ data: await schedulesOf(call).list() }),
    }),
    defineRoute({
      method: "post",
      path: "/schedules",
      summary: "Creates a schedule, or gives the one of this id another definition.",
      scope: "workflow",
      body: createSchema,
      answer: scheduleSchema,
      handle: create,
    }),
    defineRoute({
      method: "get",
      path: "/schedules/:id",
      summary: "Says where a schedule stands, and what became of its latest ticks.",
      scope: "read",
      params: idSchema,
      answer: scheduleSchema,
      handle: (call) => schedulesOf(call).get(idOf(call)),
    }),
    defineRoute({
      method: "post",
      path: "/schedules/:id/pause",
      summary: "Lets a schedule tick no more until it is resumed.",
      scope: ["workflow", "operate"],
      params: idSchema,
      answer: scheduleSchema,
      handle: (call) => schedulesOf(call).pause(idOf(call)),
    }),
    defineRoute({
      method: "post",
      path: "/schedules/:id/resume",
      summary: "Lets a paused schedule tick again; nothing is caught up.",
      scope: ["workflow", "operate"],
      params: idSchema,
      answer: scheduleSchema,
      handle: (call) => schedulesOf(call).resume(idOf(call)),
    }),
    defineRoute({
      method: "post",
      path: "/schedules/:id/trigger",
      summary: "Starts a run at once, and returns its id.",
      scope: ["workflow", "operate"],
      params: idSchema,
      answer: z.object({ id: z.string(), run: z.string() }),
      handle: async (call) => ({ id: call.params.id, run: await schedulesOf(call).trigger(idOf(call)) }),
    }),
    defineRoute({
      method: "delete",
      path: "/schedules/:id",
      summary: "Deletes a schedule; runs that it has begun go on.",
      scope: "workflow",
      params: idSchema,
      answer: z.object({ id: z.string(), deleted: z.literal(true) }),
      handle: async (call) => {
        const id = idOf(call);
        if (await schedulesOf(call).delete(id)) return { id, deleted: true };
        throw notFound("schedule", id);
      },
    }),
  ],
};

function schedulesOf({ context, principal }: Call) {
  return context.clientOf(principal).schedules;
}

function idOf({ params: { id } }: Call<Id>): string {
  if (SCHEDULE_ID.test(id)) return id;
  throw notFound("schedule", id);
}

async function create(call: Call<unknown, unknown, z.infer<typeof createSchema>>): Promise<Schedule> {
  const { completion, ...options } = call.body;
  const needed = completion !== undefined ? "complete" : options.batch !== undefined ? "batch" : undefined;
  if (needed && !allows(call.principal.scopes, needed))
    throw new ApiError({
      status: 403,
      code: "missing_scope",
      message: `this key does not allow "${needed}"`,
    });
  const given = { ...options, completion: completion as ScheduledCompletion | undefined };
  const schedule = await schedulesOf(call).create(given satisfies ScheduleOptions);
  call.response.status(201).location(`/api/schedules/${schedule.id}`);
  return schedule;
}
