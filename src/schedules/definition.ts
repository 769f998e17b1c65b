import { z } from "zod";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { readStored } from "../shared/stored-data.ts";
import { ownerFields } from "../shared/tenant.ts";
import type { StartLimits } from "../store/run-limits.ts";
import type { DueTicks } from "../store/schedule-ticks.ts";
import { SERVED_ENDPOINTS } from "../store/served-batch-record.ts";
import { latestTimes } from "./times.ts";

/** A run of a workflow. */
const workflowActionSchema = z.object({
  kind: z.literal("workflow"),
  workflow: z.string(),
  /** For workers that show no other. */
  version: z.number(),
  /** As `serialize.ts` keeps it. */
  input: z.unknown(),
  inputTyped: z.boolean().default(false),
  priority: z.number(),
  deadlineMs: z.number().optional(),
  tags: z.array(z.string()),
  /** How its runs begin, by the limits of its workflow. */
  limits: z.custom<StartLimits>().optional(),
  defaultModel: z.union([z.string(), z.array(z.string())]),
});
/** A completion, checked. */
const completionActionSchema = z.object({
  kind: z.literal("completion"),
  input: z.custom<CompletionInput>(),
});
/** A batch of the service, checked. */
const batchActionSchema = z.object({
  kind: z.literal("batch"),
  /** Whose lines were right when the schedule was created. */
  inputFileId: z.string(),
  filename: z.string(),
  endpoint: z.enum(SERVED_ENDPOINTS),
  windowHours: z.number(),
  metadata: z.record(z.string(), z.string()).optional(),
  needsPrices: z.boolean(),
});
/** What a tick starts. A further kind is a row here, in `start-action.ts`, and in the script of `takeTicks`. */
const actionSchema = z.discriminatedUnion("kind", [
  workflowActionSchema,
  completionActionSchema,
  batchActionSchema,
]);

/** A schedule as it is stored. */
const definitionSchema = z.object({
  v: z.literal(1),
  cron: z.string().optional(),
  everyMs: z.number().optional(),
  timezone: z.string(),
  overlap: z.enum(["skip", "queue", "allow"]),
  catchUp: z.enum(["none", "last", "all"]),
  maxCatchUp: z.number(),
  ...ownerFields,
  action: actionSchema,
});
export type WorkflowAction = z.infer<typeof workflowActionSchema>;
export type BatchAction = z.infer<typeof batchActionSchema>;
export type Action = z.infer<typeof actionSchema>;
export type Definition = z.infer<typeof definitionSchema>;

/** @throws GlueError `corrupt_data`, also for one that a later version wrote */
export function readDefinition(id: string, stored: unknown): Definition {
  return readStored(`the definition of schedule ${id}`, () => definitionSchema.parse(stored));
}

/** A tick counts as on time for so long, when no later one is due. */
const ON_TIME_MS = 60_000;
export const MAX_CATCH_UP = 1000;
/** Missed ticks are looked for, and counted, as far back as this many. */
const MAX_COUNTED = MAX_CATCH_UP + 1;

/** Returns what is to be decided on the ticks since the last decision. */
export function dueTicks(
  { overlap, catchUp, maxCatchUp, ...timing }: Omit<Definition, "v" | "action" | "tenant" | "by">,
  doneUntil: number,
  now: number,
): DueTicks {
  const due = latestTimes(timing, doneUntil, now, MAX_COUNTED);
  const last = due.at(-1) ?? doneUntil;
  const isOnTime = last >= now - ON_TIME_MS;
  const taken = catchUp === "all" ? maxCatchUp : catchUp === "last" || isOnTime ? 1 : 0;
  const run = taken === 0 ? [] : due.slice(-taken);
  return {
    ...{ doneUntil, until: last, overlap, run },
    areCaughtUp: run.length > 1 || !isOnTime,
    missed: due.length - run.length,
    firstMissed: due[0] ?? 0,
    maxWaiting: MAX_CATCH_UP,
  };
}
