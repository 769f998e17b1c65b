import { z } from "zod";
import { errorRecordSchema } from "../shared/error-record.ts";
import { isBlobRef } from "./blobs.ts";
import type { Store } from "./store.ts";
import type { EndedEntry } from "./workflow-journal.ts";

/** How long an ended run can be read and forked. */
export const RUN_TTL_SECONDS = 30 * 86_400;
/** A run that names no deadline must end within this time; none may have more. */
export const MAX_DEADLINE_MS = 30 * 86_400_000;

const json = z.string().transform((text): unknown => JSON.parse(text));
const count = z.coerce.number().default(0);

/** A run as it stands in its Redis hash (all fields are strings there). Times are epoch milliseconds. */
const runRecordSchema = z.object({
  id: z.string(),
  workflow: z.string(),
  /** Of the code that began it. */
  version: z.coerce.number(),
  status: z.enum(["running", "succeeded", "failed", "cancelled"]),
  /** JSON, or a blob of it. */
  input: json,
  /** Of workflow and input: the same run id with another one is an error. */
  digest: z.string(),
  /** What random numbers of the run derive from. */
  seed: z.string(),
  priority: count,
  /** Of calls that name no model: a part of the question, so it must not change with the worker. */
  defaultModel: json.pipe(z.union([z.string(), z.array(z.string())])),
  createdAt: count,
  deadlineAt: count,
  finishedAt: z.coerce.number().optional(),
  output: json.optional(),
  error: json.pipe(errorRecordSchema).optional(),
  /** Why no worker can go on with it: its code does not fit the journal. */
  blocked: json.pipe(errorRecordSchema).optional(),
  metadata: json.pipe(z.record(z.string(), z.unknown())).optional(),
  /** Of its ended steps and child runs. */
  promptTokens: count,
  completionTokens: count,
  costUsd: count,
  /** Ended steps that nobody knows the cost of. */
  unpriced: count,
  /** A child's parent, and the step it is there. */
  parentRunId: z.string().optional(),
  parentStep: z.string().optional(),
});
export type RunRecord = z.infer<typeof runRecordSchema>;

/** Whether somebody gave it a deadline. */
export function isBounded({ createdAt, deadlineAt }: RunRecord): boolean {
  return deadlineAt - createdAt < MAX_DEADLINE_MS;
}

export async function readRun(store: Store, runId: string): Promise<RunRecord | undefined> {
  return parseRun(await store.redis.hgetall(store.keys.workflow(runId)));
}

function parseRun(fields: Record<string, string>): RunRecord | undefined {
  return fields.id === undefined ? undefined : runRecordSchema.parse(fields);
}

/** What an ended child run tells its parent. */
export function endOfChild(run: RunRecord): EndedEntry {
  const { parentStep = "", finishedAt = Date.now(), error, output, unpriced } = run;
  const { promptTokens: prompt, completionTokens: completion } = run;
  const tokens = { prompt, completion, total: prompt + completion };
  const costUsd = unpriced > 0 && run.costUsd === 0 ? null : run.costUsd;
  const result = isBlobRef(output) ? { blob: output } : { value: output };
  return { type: "ended", step: parentStep, at: finishedAt, error, tokens, costUsd, ...result };
}
