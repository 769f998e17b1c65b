import { InputError } from "../shared/errors.ts";
import { dateOrNull, textOrNull, usdOf } from "./cells.ts";
import type { HistoryDatabase } from "./database.ts";
import type { ReportOptions } from "./dimensions.ts";

import { type SqlValue, TABLE_NAMES, type TableName } from "./tables.ts";

/* Single things that the history knows: the slowest, batches, jobs that are searched for. */

type Row = Record<string, SqlValue>;

const DAY_MS = 86_400_000;
const MAX_ROWS = 1000;

export interface SlowItem {
  /** A call's `<job>/<n>`, a run's id, or a step's `<run>/<step>`. */
  id: string;
  /** A call's model, a run's workflow, a step's subject. */
  subject: string;
  tenant: string;
  durationMs: number;
  endedAt: Date;
  errorCode: string | null;
}

const SLOW = {
  calls: ["id", "COALESCE(model, '')", "latency_ms", "calls", "ended_at"],
  steps: [
    "run_id || '/' || step",
    "COALESCE(subject, kind, '')",
    "ended_at - started_at",
    "steps",
    "ended_at",
  ],
  runs: ["id", "COALESCE(workflow, '')", "ended_at - started_at", "runs", "ended_at"],
} as const;

/** What may be slow: calls, steps or runs. */
export type SlowKind = keyof typeof SLOW;
export const SLOW_KINDS = Object.keys(SLOW) as SlowKind[];

/** Returns what took longest, by default of calls; the slowest first, 20 of them. */
export async function slowest(
  history: HistoryDatabase,
  { of = "calls", limit = 20, ...options }: ReportOptions & { of?: SlowKind } = {},
): Promise<SlowItem[]> {
  if (!Object.hasOwn(SLOW, of))
    throw new InputError(`"${of}" is nothing that can be slow`, `name one of ${SLOW_KINDS.join(", ")}`);
  const [id, subject, duration, table, at] = SLOW[of];
  const { conditions, parameters } = within(at, options);
  if (options.model !== undefined && of === "calls")
    conditions.push(`model = $${parameters.push(options.model)}`);
  const rows = await history.query<Row>(
    `SELECT ${id} AS id, ${subject} AS subject, COALESCE(tenant, '') AS tenant, ${duration} AS duration, ended_at, error_code
     FROM ${table} WHERE ${conditions.join(" AND ")} AND ${duration} IS NOT NULL
     ORDER BY duration DESC, id LIMIT ${limited(limit)}`,
    parameters,
  );
  return rows.map((row) => ({
    id: String(row.id),
    subject: String(row.subject),
    tenant: String(row.tenant),
    durationMs: Number(row.duration),
    endedAt: new Date(Number(row.ended_at)),
    errorCode: textOrNull(row.error_code),
  }));
}

export interface PastBatch {
  id: string;
  tenant: string;
  state: string;
  input: string;
  createdAt: Date;
  /** null: it has not ended. */
  endedAt: Date | null;
  total: number;
  succeeded: number;
  failed: number;
  retries: number;
  cacheHits: number;
  promptTokens: number;
  completionTokens: number;
  costUsd: number;
  unpriced: number;
  limitUsd: number | null;
}

/** Returns batches that changed in the time, the newest first. */
export async function batches(
  history: HistoryDatabase,
  { limit = 100, ...options }: ReportOptions = {},
): Promise<PastBatch[]> {
  const { conditions, parameters } = within("updated_at", options);
  const rows = await history.query<Row>(
    `SELECT * FROM batches WHERE ${conditions.join(" AND ")} ORDER BY created_at DESC, id LIMIT ${limited(limit)}`,
    parameters,
  );
  return rows.map((row) => ({
    id: String(row.id),
    tenant: String(row.tenant),
    state: String(row.state),
    input: String(row.input ?? ""),
    createdAt: new Date(Number(row.created_at)),
    endedAt: dateOrNull(row.ended_at),
    total: Number(row.total),
    succeeded: Number(row.succeeded),
    failed: Number(row.failed),
    retries: Number(row.retries),
    cacheHits: Number(row.cache_hits),
    promptTokens: Number(row.prompt_tokens),
    completionTokens: Number(row.completion_tokens),
    costUsd: usdOf(row.cost_microusd) ?? 0,
    unpriced: Number(row.unpriced),
    limitUsd: usdOf(row.limit_microusd),
  }));
}

export interface PastJob {
  id: string;
  tenant: string;
  model: string;
  state: string;
  batchId: string | null;
  customId: string | null;
  runId: string | null;
  step: string | null;
  conversationId: string | null;
  createdAt: Date | null;
  endedAt: Date;
  latencyMs: number;
  attempts: number;
  calls: number;
  promptTokens: number;
  completionTokens: number;
  costUsd: number | null;
  fromCache: boolean;
  errorCode: string | null;
  errorMessage: string | null;
  /** The beginning of what was asked, or all of it, as `HISTORY_CONTENT` says; null: none is kept. */
  prompt: string | null;
  answer: string | null;
}

export interface JobSearch extends ReportOptions {
  state?: string | undefined;
  /** Of the error that ended it. */
  code?: string | undefined;
  batch?: string | undefined;
  run?: string | undefined;
  conversation?: string | undefined;
  customId?: string | undefined;
  /** A part of its id, of its `custom_id`, or of what is kept of its texts. */
  text?: string | undefined;
}

/** Returns jobs that have ended, the latest first. Texts that nobody may see are left to the caller to leave out. */
export async function jobs(history: HistoryDatabase, search: JobSearch = {}): Promise<PastJob[]> {
  const { state, code, batch, run, conversation, customId, text, model, limit = 100 } = search;
  const { conditions, parameters } = within("ended_at", search);
  const equal = {
    ...{ state, model, error_code: code, batch_id: batch, run_id: run },
    ...{ conversation_id: conversation, custom_id: customId },
  };
  for (const [column, value] of Object.entries(equal))
    if (value !== undefined) conditions.push(`${column} = $${parameters.push(value)}`);
  if (text !== undefined) {
    const place = `$${parameters.push(text)}`;
    const parts = ["id", "custom_id", "prompt", "answer"].map(
      (column) => `${containsIn(history, column, place)}`,
    );
    conditions.push(`(${parts.join(" OR ")})`);
  }
  const rows = await history.query<Row>(
    `SELECT * FROM jobs WHERE ${conditions.join(" AND ")} ORDER BY ended_at DESC, id LIMIT ${limited(limit)}`,
    parameters,
  );
  return rows.map(jobOf);
}

/** Whether a column has a text in it, capital letters apart from small ones. */
function containsIn({ engine }: HistoryDatabase, column: string, place: string): string {
  return engine === "sqlite" ? `INSTR(${column}, ${place}) > 0` : `STRPOS(${column}, ${place}) > 0`;
}

/** Returns how many rows each table has. */
export async function rowCounts(history: HistoryDatabase): Promise<Record<TableName, number>> {
  const counts = {} as Record<TableName, number>;
  for (const table of TABLE_NAMES) {
    const [row] = await history.query<Row>(`SELECT COUNT(*) AS rows FROM ${table}`);
    counts[table] = Number(row?.rows);
  }
  return counts;
}

function jobOf(row: Row): PastJob {
  return {
    id: String(row.id),
    tenant: String(row.tenant),
    model: String(row.model),
    state: String(row.state),
    batchId: textOrNull(row.batch_id),
    customId: textOrNull(row.custom_id),
    runId: textOrNull(row.run_id),
    step: textOrNull(row.step),
    conversationId: textOrNull(row.conversation_id),
    createdAt: dateOrNull(row.created_at),
    endedAt: new Date(Number(row.ended_at)),
    latencyMs: Number(row.latency_ms),
    attempts: Number(row.attempts),
    calls: Number(row.calls),
    promptTokens: Number(row.prompt_tokens),
    completionTokens: Number(row.completion_tokens),
    costUsd: usdOf(row.cost_microusd),
    fromCache: row.from_cache === 1,
    errorCode: textOrNull(row.error_code),
    errorMessage: textOrNull(row.error_message),
    prompt: textOrNull(row.prompt),
    answer: textOrNull(row.answer),
  };
}

/** The time and the tenant that rows are of. */
function within(at: string, { since = Date.now() - DAY_MS, until, tenant }: ReportOptions) {
  const parameters: SqlValue[] = [Math.floor(since)];
  const conditions = [`${at} >= $1`];
  if (until !== undefined) conditions.push(`${at} < $${parameters.push(Math.floor(until))}`);
  if (tenant !== undefined) conditions.push(`tenant = $${parameters.push(tenant)}`);
  return { conditions, parameters };
}

function limited(limit: number): number {
  return Math.max(1, Math.min(MAX_ROWS, Math.floor(limit)));
}
