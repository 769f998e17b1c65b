import { errorRecordSchema } from "../shared/error-record.ts";
import { parseJson } from "../shared/json.ts";
import { BATCH_ENDS } from "../shared/records.ts";
import { redactedMaybe } from "../shared/redact.ts";
import { readBatch } from "../store/batch.ts";
import type { OutboxEvent } from "../store/outbox-event.ts";
import type { Store } from "../store/store.ts";
import { jobRows } from "./job-rows.ts";
import { runRows } from "./run-rows.ts";
import { microUsd, type Rows, TABLE_NAMES } from "./tables.ts";

/** Runs and batches that are read at a time. */
const LANES = 20;
/** Of a part, about: a run may have thousands of steps. */
const MAX_ROWS = 5000;

/** What is written and acknowledged together. */
export interface Part {
  rows: Rows;
  /** Of the entries that it is made of. */
  ids: string[];
}

/** Makes rows of entries, in their order; what those do not carry is read from Redis. @throws when Redis does not answer */
export async function* partsOf(
  store: Store,
  entries: readonly { id: string; event: OutboxEvent | undefined }[],
): AsyncGenerator<Part> {
  let part: Part = { rows: {}, ids: [] };
  for (let i = 0; i < entries.length; i += LANES) {
    const some = entries.slice(i, i + LANES);
    const made = await Promise.all(some.map(({ event }) => (event ? eventRows(store, event) : {})));
    let count = 0;
    for (const rows of made) addRows(part.rows, rows);
    for (const table of TABLE_NAMES) count += part.rows[table]?.length ?? 0;
    part.ids.push(...some.map(({ id }) => id));
    if (count < MAX_ROWS) continue;
    yield part;
    part = { rows: {}, ids: [] };
  }
  if (part.ids.length > 0) yield part;
}

/** Adds rows to others. */
function addRows(all: Rows, rows: Rows): void {
  for (const table of TABLE_NAMES) {
    const more: object[] = rows[table] ?? [];
    if (more.length === 0) continue;
    const known: object[] = all[table] ?? [];
    for (const row of more) known.push(row);
    all[table] = known;
  }
}

type BatchEvent = Extract<OutboxEvent, { kind: "batch" }>;

function eventRows(store: Store, event: OutboxEvent): Rows | Promise<Rows> {
  switch (event.kind) {
    case "job":
      // It goes on: the history is of what has ended.
      return event.state === "suspended" ? {} : jobRows(event);
    case "run":
      return runRows(store, event);
    case "batch":
      return batchRows(store, event);
    case "schedule":
      return event.figures.error === undefined ? {} : scheduleRows(store, event);
    case "alert":
      return {};
  }
}

async function batchRows(
  store: Store,
  { id, tenant, state, endedAt, version, figures }: BatchEvent,
): Promise<Rows> {
  const record = await readBatch(store, id);
  const stop =
    state === "failed" ? errorRecordSchema.safeParse(parseJson(record?.stop ?? "")).data : undefined;
  const message = redactedMaybe(store.redact, stop?.message);
  const code = stop?.code ?? (state === "failed" || state === "expired" ? `batch_${state}` : undefined);
  const batch = {
    ...{
      id,
      tenant,
      state,
      input: record?.input,
      created_at: figures.createdAt ?? record?.createdAt ?? endedAt,
    },
    ...{
      ended_at: BATCH_ENDS.includes(state) ? endedAt : null,
      total: figures.total,
      succeeded: figures.succeeded,
    },
    ...{ failed: figures.failed, retries: figures.retries, rate_limited: figures.rateLimited },
    ...{
      cache_hits: figures.cacheHits,
      prompt_tokens: figures.promptTokens,
      cached_tokens: figures.cachedTokens,
    },
    ...{
      completion_tokens: figures.outputTokens,
      cost_microusd: figures.costMicroUsd ?? 0,
      unpriced: figures.unpriced,
    },
    ...{ limit_microusd: microUsd(record?.maxCostUsd), error_code: code, error_message: message },
    ...{ updated_at: endedAt, version },
  };
  const error = {
    ...{
      id: `batch/${id}/${version}`,
      tenant,
      source: "batch",
      source_id: id,
      subject: record?.input,
      at: endedAt,
    },
    ...{ code: code ?? "", category: stop?.category, message, attempts: 1, version },
  };
  return { batches: [batch], errors: code === undefined ? [] : [error] };
}

function scheduleRows(
  store: Store,
  { id, tenant, endedAt, version, figures }: Extract<OutboxEvent, { kind: "schedule" }>,
): Rows {
  const message = redactedMaybe(store.redact, figures.error);
  const error = {
    ...{ id: `schedule/${id}/${version}`, tenant, source: "schedule", source_id: id, at: endedAt },
    ...{ code: "not_started", category: "input", message, attempts: 1, version },
  };
  return { errors: [error] };
}
