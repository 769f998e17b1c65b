import { completionPayloadSchema } from "../shared/catalog.ts";
import { previewOfAnswer } from "../shared/chat.ts";
import { modelRef } from "../shared/model-name.ts";
import { completionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import type { ResultRecord } from "../shared/records.ts";
import type { Settings } from "../shared/settings.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { readBatch } from "../store/batch.ts";
import { isBlobRef } from "../store/blobs.ts";
import { jobKey } from "../store/bullmq-internals.ts";
import { openJobText } from "../store/job-data.ts";
import { type OutboxEvent, readOutboxEvent } from "../store/outbox-event.ts";
import { sealDetail } from "../store/past-contents.ts";
import { repliesOf } from "../store/redis.ts";
import { readRun } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { openRecord } from "../store/stored-record.ts";
import type { HistoryDatabase } from "./database.ts";
import { partsOf } from "./event-rows.ts";
import type { RowOf, SqlValue } from "./tables.ts";

/** What of Redis was written down. */
export interface BackfillReport {
  jobs: number;
  runs: number;
  batches: number;
  /** What could not be read. */
  unreadable: number;
}

/** Read in one go. */
const PAGE = 500;
/** So much earlier than it was: what the outbox said of the same end is more, and stays. */
const EARLIER_MS = 60_000;
const MAX_TEXT_CHARS = { preview: 200, full: 64 * 1024 } as const;

/**
 * Writes down what Redis still has of jobs, runs and batches that have ended: for a history that begins late, or that missed something.
 * Any number of times; what is there already stays.
 */
export async function backfill(
  store: Store,
  history: HistoryDatabase,
  { content }: Settings["history"],
): Promise<BackfillReport> {
  const report: BackfillReport = { jobs: 0, runs: 0, batches: 0, unreadable: 0 };
  const write = async (kind: "jobs" | "runs" | "batches", events: readonly (OutboxEvent | undefined)[]) => {
    const found = events.filter((event) => event !== undefined);
    for await (const { rows } of partsOf(
      store,
      found.map((event) => ({ id: event.id, event })),
    ))
      await history.write({ ...rows, errors: await unknownErrors(history, rows.errors) });
    report[kind] += found.length;
  };
  const ofIds = async (
    index: string,
    read: (id: string) => Promise<OutboxEvent | undefined>,
    kind: "runs" | "batches",
  ) => {
    for await (const ids of membersOf(store, index)) {
      const events = await Promise.all(
        ids.map((id) =>
          read(id).catch((error: unknown) => {
            if (!isStoredLoss(error)) throw error;
            report.unreadable += 1;
            return undefined;
          }),
        ),
      );
      await write(kind, events);
    }
  };
  await ofIds(store.keys.workflowRuns, (id) => runEvent(store, id), "runs");
  await ofIds(store.keys.batches, (id) => batchEvent(store, id), "batches");
  const start = store.keys.result("");
  const match = `${start.replace(/[\\*?[\]]/g, "\\$&")}*`;
  for await (const keys of store.redis.scanStream({ match, count: PAGE })) {
    const records = await recordsOf(
      store,
      (keys as string[]).map((key) => key.slice(start.length)),
      report,
    );
    await write("jobs", await jobEvents(store, records, content));
  }
  return report;
}

/**
 * Returns those errors that the history does not have. Their rows are named after the moment at which the outbox told of the end, which
 * nobody else knows: the same end is one of the same object at about the same time.
 */
async function unknownErrors(
  history: HistoryDatabase,
  errors: readonly RowOf<"errors">[] = [],
): Promise<RowOf<"errors">[]> {
  if (errors.length === 0) return [];
  const ids = [...new Set(errors.map(({ source_id: id }) => id ?? ""))];
  const known = await history.query<{ source: string; source_id: string; at: SqlValue }>(
    `SELECT source, source_id, at FROM errors WHERE source_id IN (${ids.map((_, n) => `$${n + 1}`).join(", ")})`,
    ids,
  );
  const timesOf = Map.groupBy(known, ({ source, source_id: id }) => `${source}/${id}`);
  return errors.filter(({ source, source_id: id, at }) => {
    const times = timesOf.get(`${source}/${id}`) ?? [];
    return !times.some((end) => Math.abs(Number(end.at) - Number(at)) < EARLIER_MS);
  });
}

/** The members of a sorted set, page by page. */
async function* membersOf({ redis }: Store, key: string): AsyncGenerator<string[]> {
  for (let from = 0; ; from += PAGE) {
    const ids = await redis.zrevrange(key, from, from + PAGE - 1);
    if (ids.length > 0) yield ids;
    if (ids.length < PAGE) return;
  }
}

interface Ended {
  kind: "job" | "run" | "batch";
  id: string;
  tenant: string | undefined;
  state: string;
  endedAt: number;
  figures: object;
  detail?: object;
}

/** What the outbox would have said. */
function eventOf({
  endedAt,
  figures,
  detail = {},
  tenant = DEFAULT_TENANT,
  ...fields
}: Ended): OutboxEvent | undefined {
  const version = Math.max(0, endedAt - EARLIER_MS) * 1000;
  const texts = { ...fields, tenant, v: 1, version, endedAt, type: `${fields.kind}.${fields.state}` };
  const entry = { ...texts, figures: JSON.stringify(figures), detail: JSON.stringify(detail) };
  return readOutboxEvent(Object.entries(entry).flatMap(([name, value]) => [name, String(value)]));
}

async function runEvent(store: Store, id: string): Promise<OutboxEvent | undefined> {
  const run = await readRun(store, id);
  if (!run || run.status === "running" || run.finishedAt === undefined) return undefined;
  const {
    tenant,
    status: state,
    finishedAt: endedAt,
    error,
    version: codeVersion,
    completionTokens,
    ...rest
  } = run;
  const {
    workflow,
    queue,
    by,
    createdAt,
    promptTokens,
    costUsd,
    unpriced,
    retries,
    parentRunId,
    parentStep,
  } = rest;
  return eventOf({
    ...{ kind: "run", id, tenant, state, endedAt, detail: await sealDetail(store, id, faultOf(error)) },
    figures: {
      ...{
        workflow,
        codeVersion,
        queue,
        by,
        createdAt,
        promptTokens,
        outputTokens: completionTokens,
        costUsd,
      },
      ...{ unpriced, retries, parentRunId, parentStep, errorCode: error?.code },
    },
  });
}

async function batchEvent(store: Store, id: string): Promise<OutboxEvent | undefined> {
  const batch = await readBatch(store, id);
  if (!batch) return undefined;
  const { tenant, status: state, updatedAt: endedAt, completionTokens: outputTokens, ...figures } = batch;
  return eventOf({ kind: "batch", id, tenant, state, endedAt, figures: { ...figures, outputTokens } });
}

async function recordsOf(
  store: Store,
  ids: readonly string[],
  report: BackfillReport,
): Promise<ResultRecord[]> {
  if (ids.length === 0) return [];
  const texts = await store.redis.mget(ids.map((id) => store.keys.result(id)));
  const records = await Promise.all(
    ids.map((id, n) =>
      openRecord(store, id, texts[n] ?? null).catch(() => {
        report.unreadable += 1;
        return undefined;
      }),
    ),
  );
  return records.filter((record) => record !== undefined);
}

/** With what BullMQ still has of the jobs. */
async function jobEvents(
  store: Store,
  records: readonly ResultRecord[],
  content: Settings["history"]["content"],
) {
  const pipeline = store.redis.pipeline();
  const queuesOf = ({ entry, model }: ResultRecord) => [
    ...(entry === undefined ? [] : [completionQueueName(modelRef(entry, model))]),
    ROUTE_QUEUE,
  ];
  for (const record of records)
    for (const queue of queuesOf(record))
      pipeline.hmget(jobKey(store, queue, record.jobId), "data", "timestamp", "processedOn");
  const replies = (records.length > 0 ? await repliesOf(pipeline) : []).values();
  const events = records.map(async (record) => {
    const found = queuesOf(record).map((queue) => ({
      queue,
      facts: (replies.next().value ?? []) as (string | null)[],
    }));
    const { queue, facts = [] } = found.find(({ facts: [data] }) => data) ?? {};
    const [data, createdAt, startedAt] = facts;
    const payload = completionPayloadSchema.safeParse(
      await openJobText(store, record.jobId, data).catch(() => undefined),
    ).data;
    const {
      jobId: id,
      tenant,
      status: state,
      finishedAt: endedAt,
      tokens,
      error,
      response,
      ...figures
    } = record;
    const body = response && !isBlobRef(response.body) ? response.body : undefined;
    return eventOf({
      ...{ kind: "job", id, tenant, state, endedAt },
      figures: {
        ...{
          queue,
          entry: figures.entry,
          model: figures.model,
          costUsd: figures.costUsd,
          latencyMs: figures.latencyMs,
        },
        ...{
          attempts: figures.attempts,
          calls: figures.calls ?? (state === "succeeded" ? 1 : 0),
          fromCache: figures.fromCache,
        },
        ...{ promptTokens: tokens.prompt, cachedTokens: tokens.cached, outputTokens: tokens.completion },
        ...{
          createdAt: numberOf(createdAt),
          startedAt: numberOf(startedAt),
          errorCode: error?.code,
          by: payload?.by,
        },
        ...{ batchId: payload?.batch?.id, customId: payload?.batch?.customId, line: payload?.batch?.line },
        ...{
          runId: payload?.workflow?.runId,
          step: payload?.workflow?.step,
          conversationId: payload?.conversation?.id,
        },
      },
      detail: await sealDetail(store, id, {
        ...faultOf(error),
        ...(content !== "none" && {
          prompt: payload?.preview,
          answer: body && previewOfAnswer(body, store.redact, MAX_TEXT_CHARS[content]),
        }),
      }),
    });
  });
  return Promise.all(events);
}

function faultOf(error: { message: string; category: string } | undefined): object {
  return error ? { errorMessage: error.message, errorCategory: error.category } : {};
}

function numberOf(text: string | null | undefined): number | undefined {
  return text ? Number(text) : undefined;
}
