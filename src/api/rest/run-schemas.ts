import { z } from "zod";
import { RUN_STATES } from "../../client/run-selection.ts";
import { errorSchema } from "./outcome.ts";

/** Ids of runs, those of child runs too. */
export const RUN_ID = /^[\w.-]{1,1000}$/;

const stateSchema = z.enum(RUN_STATES);
const date = z.iso.datetime();
const tokensSchema = z.looseObject({ prompt: z.number(), completion: z.number(), total: z.number() });
export const runSchema = z
  .looseObject({
    id: z.string(),
    workflow: z.string(),
    version: z.number(),
    state: stateSchema,
    waitsFor: z.array(z.string()),
    tags: z.array(z.string()),
    createdAt: date,
    finishedAt: date.optional(),
    tokensUsed: tokensSchema,
    costUsd: z.number(),
    traceUrl: z.string().optional().meta({ description: "By the setting GLUELLM_TRACE_URL." }),
    error: errorSchema.optional(),
  })
  .meta({ id: "Run" });
export const listedSchema = z
  .object({
    id: z.string(),
    workflow: z.string(),
    version: z.number(),
    state: stateSchema,
    tags: z.array(z.string()),
    startedAt: date,
  })
  .meta({ id: "ListedRun" });
export const stepSchema = z
  .looseObject({
    step: z.string(),
    kind: z.string(),
    state: stateSchema,
    tokensUsed: tokensSchema,
    costUsd: z.number().nullable(),
    error: errorSchema.optional(),
  })
  .meta({ id: "Step" });
export const outcomeSchema = z
  .looseObject({
    id: z.string(),
    state: stateSchema,
    value: z.unknown().optional(),
    error: errorSchema.optional(),
  })
  .meta({
    id: "RunResult",
    description: "`value` is the output; with `typed` it has tags for dates and the like.",
  });

const time = z
  .union([z.iso.datetime({ offset: true }), z.string().regex(/^\d{1,15}$/, "is no time")])
  .transform((text) => new Date(/^\d+$/.test(text) ? Number(text) : text))
  .meta({ override: { type: "string", description: "An ISO time, or epoch milliseconds." } });
export const listSchema = z.object({
  workflow: z.string().min(1).optional(),
  state: stateSchema.optional(),
  version: z.coerce.number().int().min(1).optional(),
  tag: z.string().min(1).optional(),
  from: time.optional(),
  to: time.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().optional(),
});
export const startSchema = z
  .strictObject({
    input: z.unknown().optional(),
    runId: z.string().optional(),
    tags: z.array(z.string()).optional(),
    priority: z.number().optional(),
    deadlineMs: z.number().optional(),
  })
  .meta({ id: "StartRun" });
export const runSignalSchema = z
  .object({
    name: z.string(),
    isWaiting: z.boolean().meta({ description: "Whether the run waits for it now." }),
    schema: z.looseObject({}).optional().meta({ description: "JSON Schema of its data, if it has one." }),
  })
  .meta({ id: "RunSignal" });
export const signalSchema = z
  .strictObject({
    name: z.string().min(1).max(200),
    data: z.unknown().optional(),
    dedupeId: z.string().max(200).optional(),
  })
  .meta({ id: "SignalRun" });
export const updateSchema = z
  .strictObject({
    name: z.string().min(1).max(200),
    data: z.unknown().optional(),
    updateId: z.string().min(1).max(200).optional(),
    waitMs: z.int().min(0).max(60_000).default(30_000),
  })
  .meta({ id: "UpdateRun" });
export const forkSchema = z
  .strictObject({
    fromStep: z.string(),
    changes: z
      .strictObject({ input: z.unknown().optional(), results: z.record(z.string(), z.unknown()).optional() })
      .optional(),
    runId: z.string().regex(RUN_ID).max(200).optional(),
  })
  .meta({ id: "ForkRun" });
