import { numberOrNull, usdOf } from "./cells.ts";
import type { HistoryDatabase } from "./database.ts";
import { OF_CALLS, OF_ERRORS, OF_RUNS, type ReportOptions, Scope } from "./dimensions.ts";
import type { SqlValue } from "./tables.ts";

/*
 * What operators ask the history for. The statements are the same on both engines, and so are the answers: whole numbers alone are
 * added and compared, and texts sort by code points. Percentiles are nearest rank.
 */

type Row = Record<string, SqlValue>;

/** What a group of figures is of: `{ model: "openai:gpt-4o-mini", day: "2026-11-29" }`. */
export type Group = Record<string, string>;

const sum = (column: string) => `CAST(COALESCE(SUM(${column}), 0) AS BIGINT)`;
const count = (condition: string) => `CAST(COUNT(CASE WHEN ${condition} THEN 1 END) AS BIGINT)`;
const SPENT = `${sum("cost_microusd")} AS cost, ${sum("prompt_tokens")} AS prompt, ${sum("cached_tokens")} AS cached,
  ${sum("completion_tokens")} AS completion`;

export interface Spend {
  group: Group;
  /** Answers, those of the cache included. */
  calls: number;
  promptTokens: number;
  /** Of the prompt's, those that a provider read from its cache. */
  cachedTokens: number;
  completionTokens: number;
  costUsd: number;
  /** Calls that nobody knows the cost of. */
  unpriced: number;
}

/** Returns what calls cost, by default by model. */
export async function spend(history: HistoryDatabase, options: ReportOptions = {}): Promise<Spend[]> {
  const scope = new Scope(OF_CALLS, "ended_at", ["model"], options);
  const rows = await history.query<Row>(
    `SELECT ${list(scope.selected, SPENT)}, ${count("error_code IS NULL")} AS calls, ${count("cost_microusd IS NULL")} AS unpriced
     FROM calls WHERE ${scope.where} ${scope.groupBy}
     ORDER BY ${list(scope.order("cost"))} LIMIT ${scope.limit}`,
    scope.parameters,
  );
  return rows.map((row) => ({
    group: scope.groupOf(row),
    calls: Number(row.calls),
    promptTokens: Number(row.prompt),
    cachedTokens: Number(row.cached),
    completionTokens: Number(row.completion),
    costUsd: usdOf(row.cost) ?? 0,
    unpriced: Number(row.unpriced),
  }));
}

/** Milliseconds of the calls of a group; null where none has that figure. */
export interface Percentiles {
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export interface Latency {
  group: Group;
  calls: number;
  /** Of the call itself, from its sending to its answer. */
  latencyMs: Percentiles & { max: number | null };
  /** To the first piece of a streamed answer. */
  firstTokenMs: Percentiles;
  /** In the queue, before the job's first attempt. */
  queueWaitMs: Percentiles;
  /** For the budget. */
  budgetWaitMs: Percentiles;
}

const MEASURES = {
  latencyMs: "latency_ms",
  firstTokenMs: "first_token_ms",
  queueWaitMs: "queue_wait_ms",
  budgetWaitMs: "budget_wait_ms",
} as const;
const SHARES = [50, 95, 99] as const;

/** Returns how long calls took that a provider answered, by default by model. */
export async function latency(history: HistoryDatabase, options: ReportOptions = {}): Promise<Latency[]> {
  const scope = new Scope(OF_CALLS, "ended_at", ["model"], options);
  const rows = await history.query<Row>(
    `${ranked("calls", scope, Object.values(MEASURES), "error_code IS NULL AND from_cache = 0")}
     SELECT ${list(scope.names, "COUNT(*) AS calls", "MAX(latency_ms) AS max_latency")},
       ${Object.values(MEASURES).map(percentilesOf).join(", ")}
     FROM ranked ${scope.groupBy} ORDER BY ${list(scope.order("calls"))} LIMIT ${scope.limit}`,
    scope.parameters,
  );
  return rows.map((row) => ({
    group: scope.groupOf(row),
    calls: Number(row.calls),
    latencyMs: { ...percentiles(row, "latency_ms"), max: numberOrNull(row.max_latency) },
    firstTokenMs: percentiles(row, "first_token_ms"),
    queueWaitMs: percentiles(row, "queue_wait_ms"),
    budgetWaitMs: percentiles(row, "budget_wait_ms"),
  }));
}

export interface Failure {
  group: Group;
  count: number;
  firstAt: Date;
  lastAt: Date;
  /** The latest of them. */
  example: { source: string; id: string; code: string; message: string };
}

/** Returns what ended jobs, batches and runs badly, by default by code. */
export async function failures(history: HistoryDatabase, options: ReportOptions = {}): Promise<Failure[]> {
  const scope = new Scope(OF_ERRORS, "at", ["code"], options);
  const latest = (column: string) => `MAX(CASE WHEN place = 1 THEN ${column} END) AS ${column}`;
  const rows = await history.query<Row>(
    `WITH found AS (SELECT ${list(scope.selected, "id, at, source, source_id, code, message")} FROM errors WHERE ${scope.where}),
       placed AS (SELECT *, ROW_NUMBER() OVER (${scope.partition} ORDER BY at DESC, id DESC) AS place FROM found)
     SELECT ${list(scope.names, "COUNT(*) AS failures", "MIN(at) AS first_at", "MAX(at) AS last_at")},
       ${["source", "source_id", "code", "message"].map(latest).join(", ")}
     FROM placed ${scope.groupBy} ORDER BY ${list(scope.order("failures"))} LIMIT ${scope.limit}`,
    scope.parameters,
  );
  return rows.map((row) => ({
    group: scope.groupOf(row),
    count: Number(row.failures),
    firstAt: new Date(Number(row.first_at)),
    lastAt: new Date(Number(row.last_at)),
    example: {
      source: String(row.source),
      id: String(row.source_id),
      code: String(row.code),
      message: String(row.message ?? ""),
    },
  }));
}

export interface CacheUse {
  group: Group;
  answers: number;
  /** Of the answers, those that no provider was called for. */
  fromCache: number;
  /** Of the prompts' tokens, those that a provider read from its own cache: 0 to 1. */
  promptShare: number;
}

/** Returns what the cache of answers, and those of the providers, saved; by default by model. */
export async function cacheUse(history: HistoryDatabase, options: ReportOptions = {}): Promise<CacheUse[]> {
  const scope = new Scope(OF_CALLS, "ended_at", ["model"], options);
  const rows = await history.query<Row>(
    `SELECT ${list(scope.selected, SPENT)}, COUNT(*) AS answers, ${count("from_cache = 1")} AS from_cache
     FROM calls WHERE ${scope.where} AND error_code IS NULL ${scope.groupBy}
     ORDER BY ${list(scope.order("answers"))} LIMIT ${scope.limit}`,
    scope.parameters,
  );
  return rows.map((row) => ({
    group: scope.groupOf(row),
    answers: Number(row.answers),
    fromCache: Number(row.from_cache),
    promptShare: Number(row.prompt) === 0 ? 0 : Number(row.cached) / Number(row.prompt),
  }));
}

export interface PastRunSums {
  group: Group;
  runs: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  durationMs: Percentiles;
  promptTokens: number;
  completionTokens: number;
  costUsd: number;
  /** Steps that nobody knows the cost of. */
  unpriced: number;
}

/** Returns what became of runs that have ended, by default by workflow. Child runs count too; their cost is part of their parents'. */
export async function runs(history: HistoryDatabase, options: ReportOptions = {}): Promise<PastRunSums[]> {
  const scope = new Scope(OF_RUNS, "ended_at", ["workflow"], options);
  const state = (name: string) => `${count(`state = '${name}'`)} AS ${name}`;
  const own = (column: string) => sum(`CASE WHEN parent_run_id IS NULL THEN ${column} ELSE 0 END`);
  const rows = await history.query<Row>(
    `${ranked("(SELECT *, ended_at - started_at AS duration_ms FROM runs) AS timed", scope, ["duration_ms"])}
     SELECT ${list(scope.names, "COUNT(*) AS runs", percentilesOf("duration_ms"))},
       ${["succeeded", "failed", "cancelled"].map(state).join(", ")},
       ${own("cost_microusd")} AS cost, ${own("prompt_tokens")} AS prompt, ${own("completion_tokens")} AS completion,
       ${own("unpriced")} AS unpriced
     FROM ranked ${scope.groupBy} ORDER BY ${list(scope.order("runs"))} LIMIT ${scope.limit}`,
    scope.parameters,
  );
  return rows.map((row) => ({
    group: scope.groupOf(row),
    runs: Number(row.runs),
    succeeded: Number(row.succeeded),
    failed: Number(row.failed),
    cancelled: Number(row.cancelled),
    durationMs: percentiles(row, "duration_ms"),
    promptTokens: Number(row.prompt),
    completionTokens: Number(row.completion),
    costUsd: usdOf(row.cost) ?? 0,
    unpriced: Number(row.unpriced),
  }));
}

/** The rows of a table with the rank of each measure in its group: what is absent comes last, and counts for nothing. */
function ranked(table: string, scope: Scope, measures: readonly string[], condition = "1 = 1"): string {
  const ranks = measures.map(
    (
      measure,
    ) => `ROW_NUMBER() OVER (${scope.partition} ORDER BY ${measure} IS NULL, ${measure}) AS rank_${measure},
      COUNT(${measure}) OVER (${scope.partition}) AS count_${measure}`,
  );
  return `WITH found AS (SELECT ${list(scope.selected, "*")} FROM ${table} WHERE ${scope.where} AND ${condition}),
    ranked AS (SELECT *, ${ranks.join(", ")} FROM found)`;
}

function percentilesOf(measure: string): string {
  return SHARES.map(
    (share) =>
      `MIN(CASE WHEN rank_${measure} * 100 >= count_${measure} * ${share} THEN ${measure} END) AS p${share}_${measure}`,
  ).join(", ");
}

function percentiles(row: Row, measure: string): Percentiles {
  const [p50, p95, p99] = SHARES.map((share) => numberOrNull(row[`p${share}_${measure}`]));
  return { p50: p50 ?? null, p95: p95 ?? null, p99: p99 ?? null };
}

/** The parts of a list in SQL that are there. */
function list(...parts: string[]): string {
  return parts.filter(Boolean).join(", ");
}
