import { z } from "zod";
import { batchFaultSchema } from "../../shared/file-check.ts";
import { parseJson } from "../../shared/json.ts";
import { BATCH_ENDS, batchStatusSchema, laneStatusSchema } from "../../shared/records.ts";
import { lanesOf } from "../../store/batch.ts";
import type { AnyBatch } from "../../store/batch-list.ts";

/* A batch as the REST API tells it, whoever runs it: a process of the service, a program or a command. */

/** `paused` is a batch of the service that sends no rows until it is resumed. */
export const batchStateSchema = z.enum([...batchStatusSchema.options, "paused"]);
export type BatchState = z.infer<typeof batchStateSchema>;

/** The counts of a run that nobody goes on with say nothing of now. */
const STALE_MS = 15_000;

const time = z.iso.datetime().nullable();
const quotedSchema = z.object({ p10: z.number(), p50: z.number(), p90: z.number() });
export const batchViewSchema = z
  .looseObject({
    id: z.string(),
    source: z
      .enum(["service", "program"])
      .meta({ description: "Who runs it: any process of the service, or a program or command by itself." }),
    state: batchStateSchema,
    endpoint: z.string().nullable(),
    rows: z.object({
      total: z.number(),
      succeeded: z.number(),
      failed: z.number(),
      queued: z.number().meta({ description: "In the queues, or with a worker." }),
      unsent: z.number(),
    }),
    rowsPerSecond: z
      .number()
      .nullable()
      .meta({ description: "Of the last 10 s; null while nobody sends its rows." }),
    etaMs: z.number().nullable(),
    tokens: z.object({ prompt: z.number(), completion: z.number(), cached: z.number() }),
    costUsd: z.number().nullable().meta({ description: "null when the cost of a row is not known." }),
    maxCostUsd: z.number().nullable(),
    quotedUsd: quotedSchema.nullable().meta({ description: "What it was quoted for; null without a quote." }),
    rowsByLane: z.object({ batch: z.number(), flex: z.number() }).meta({
      description: "Rows that were bought at a lower price: in provider batches, in the tier flex.",
    }),
    savedUsd: z.number().meta({ description: "What these saved against single calls." }),
    lanes: z.array(laneStatusSchema).meta({ description: "The provider batches that have rows of it now." }),
    retries: z.number(),
    rateLimited: z.number(),
    cacheHits: z.number(),
    createdAt: time,
    startedAt: time,
    endedAt: time,
    expiresAt: time,
    metadata: z.record(z.string(), z.string()),
    inputFileId: z.string().nullable(),
    outputFileId: z.string().nullable(),
    errorFileId: z.string().nullable(),
    retryOf: z.string().nullable(),
    retriedAs: z.string().nullable(),
    schedule: z.string().nullable(),
    faults: z.array(batchFaultSchema).meta({ description: "What is wrong with its input, by line." }),
  })
  .meta({ id: "BatchState" });

/** Returns the state that is told of a batch. */
export function stateOf({ served, run }: AnyBatch): BatchState {
  const state = served?.status ?? run?.status ?? "validating";
  const isPaused = served?.pausedAt !== undefined && (state === "validating" || state === "in_progress");
  return isPaused ? "paused" : state;
}

const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

export function showBatch(batch: AnyBatch): z.infer<typeof batchViewSchema> {
  const { id, served, run } = batch;
  const state = stateOf(batch);
  const isOpen = !BATCH_ENDS.includes(state);
  const { total = 0, succeeded = 0, failed = 0 } = run ?? {};
  const left = isOpen ? Math.max(0, total - succeeded - failed) : 0;
  const isRun = state === "in_progress" && run !== undefined && run.updatedAt > Date.now() - STALE_MS;
  const queued = isOpen ? Math.min(left, run?.inFlight ?? 0) : 0;
  const rowsPerSecond = isRun ? run.rowsPerSecond : null;
  const ended = served && (served.completedAt ?? served.failedAt ?? served.expiredAt ?? served.cancelledAt);
  return {
    id,
    source: served ? "service" : "program",
    state,
    endpoint: served?.endpoint ?? null,
    rows: { total, succeeded, failed, queued, unsent: left - queued },
    rowsPerSecond,
    etaMs: rowsPerSecond ? Math.round((left / rowsPerSecond) * 1000) : null,
    tokens: {
      prompt: run?.promptTokens ?? 0,
      completion: run?.completionTokens ?? 0,
      cached: run?.cachedTokens ?? 0,
    },
    costUsd: run && run.unpriced > 0 ? null : (run?.costUsd ?? 0),
    maxCostUsd: run?.maxCostUsd ?? null,
    quotedUsd: quotedSchema.safeParse(parseJson(run?.quotedUsd ?? "null")).data ?? null,
    rowsByLane: { batch: run?.batchRows ?? 0, flex: run?.flexRows ?? 0 },
    savedUsd: run?.savedUsd ?? 0,
    lanes: run ? lanesOf(run) : [],
    ...{ retries: run?.retries ?? 0, rateLimited: run?.rateLimited ?? 0, cacheHits: run?.cacheHits ?? 0 },
    createdAt: iso(served?.createdAt ?? run?.createdAt),
    startedAt: iso(served ? served.inProgressAt : run?.createdAt),
    endedAt: iso(served ? ended : isOpen ? undefined : run?.updatedAt),
    expiresAt: iso(served?.expiresAt),
    metadata: served?.metadata ?? {},
    inputFileId: served?.inputFileId ?? null,
    outputFileId: served?.outputs?.output ? served.outputFileId : null,
    errorFileId: served?.outputs?.errors ? served.errorFileId : null,
    retryOf: served?.retryOf ?? null,
    retriedAs: served?.retriedAs ?? null,
    schedule: served?.schedule ?? null,
    faults: served?.faults ?? [],
  };
}
