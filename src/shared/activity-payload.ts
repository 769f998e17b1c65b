import { z } from "zod";
import { MAX_TRACESTATE_CHARS } from "./request-names.ts";

/** The activities of one name that a process has at work at a time. */
export const MAX_ACTIVITIES_AT_WORK = 100;
/** The largest input and result of an activity, as JSON. */
export const MAX_ACTIVITY_BYTES = 20 * 1024 * 1024;
/** The largest details of a heartbeat, as JSON. */
export const MAX_DETAILS_BYTES = 64 * 1024;

/** What the job of an activity carries. */
export const activityPayloadSchema = z.object({
  v: z.literal(1),
  kind: z.literal("activity"),
  activity: z.string(),
  /** The run and the step that it is. */
  workflow: z.object({ runId: z.string(), step: z.string() }),
  /** The input, or where it lies when it is larger than 16 KB. */
  input: z.unknown(),
  /** It has tags of types (see `serialize.ts`). */
  typed: z.boolean().optional(),
  /** The trace of the run. */
  traceparent: z.string().max(64).optional(),
  tracestate: z.string().max(MAX_TRACESTATE_CHARS).optional(),
});
export type ActivityPayload = z.infer<typeof activityPayloadSchema>;
