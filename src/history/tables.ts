import { HISTORY_TABLES, type HistoryTable } from "../shared/history-setting.ts";

/*
 * The tables of the history, as the SQL of both engines. Times are whole epoch milliseconds, money is whole micro-USD, and null is what
 * nobody knows. `version` is when what the row says came to be, in microseconds by the clock of Redis: a row gives way only to a later one.
 */

/** A column's type: text, or a whole number. */
type ColumnType = "text" | "integer";

export interface Table {
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** The columns that tell a row from all others. */
  readonly key: readonly string[];
  /** By which its rows grow old. */
  readonly age: string;
}

const text = "text";
const integer = "integer";

const use = {
  prompt_tokens: integer,
  cached_tokens: integer,
  completion_tokens: integer,
  cost_microusd: integer,
} as const;
const error = { error_code: text, error_message: text } as const;

/** What version 2 of the schema has beside version 1. */
export const AUDIT_CHAIN = {
  ...{ seq: integer, number: integer, epoch: text, phase: text, act: integer },
  ...{ role: text, outcome: text, request_id: text, prev: text, hash: text },
} as const satisfies Record<string, ColumnType>;

export const TABLES = {
  /** Completions, by their job: how they ended. */
  jobs: {
    columns: {
      ...{ id: text, tenant: text, queue: text, model: text, state: text },
      ...{ batch_id: text, custom_id: text, run_id: text, step: text, conversation_id: text },
      ...{ created_at: integer, ended_at: integer, latency_ms: integer, attempts: integer, calls: integer },
      ...use,
      ...error,
      ...{ from_cache: integer, prompt: text, answer: text, version: integer },
    },
    key: ["id"],
    age: "ended_at",
  },
  /** Answers of providers and of the cache, and the failures that ended jobs: `<job>/<n>`. */
  calls: {
    columns: {
      ...{ id: text, job_id: text, tenant: text, provider: text, model: text, lane: text },
      ...{ batch_id: text, run_id: text, step: text, ended_at: integer },
      ...{ queue_wait_ms: integer, budget_wait_ms: integer, first_token_ms: integer, latency_ms: integer },
      ...use,
      ...{ attempts: integer, from_cache: integer, finish_reason: text, error_code: text },
      ...{ provider_request_id: text, version: integer },
    },
    key: ["id"],
    age: "ended_at",
  },
  batches: {
    columns: {
      ...{ id: text, tenant: text, state: text, input: text, created_at: integer, ended_at: integer },
      ...{ total: integer, succeeded: integer, failed: integer, retries: integer, rate_limited: integer },
      ...{ cache_hits: integer, ...use, unpriced: integer, limit_microusd: integer },
      ...error,
      ...{ updated_at: integer, version: integer },
    },
    key: ["id"],
    age: "updated_at",
  },
  /** Runs of workflows. */
  runs: {
    columns: {
      ...{ id: text, tenant: text, workflow: text, workflow_version: integer, state: text, tags: text },
      ...{ parent_run_id: text, parent_step: text, started_at: integer, ended_at: integer, retries: integer },
      ...{ prompt_tokens: integer, completion_tokens: integer, cost_microusd: integer, unpriced: integer },
      ...error,
      ...{ updated_at: integer, version: integer },
    },
    key: ["id"],
    age: "updated_at",
  },
  steps: {
    columns: {
      ...{ run_id: text, step: text, tenant: text, workflow: text, kind: text, subject: text, job_id: text },
      ...{ state: text, started_at: integer, ended_at: integer, prompt_tokens: integer },
      ...{ completion_tokens: integer, cost_microusd: integer, reused: integer, error_code: text },
      ...{ updated_at: integer, version: integer },
    },
    key: ["run_id", "step"],
    age: "updated_at",
  },
  /** What ended jobs, batches and runs badly, one row each time. */
  errors: {
    columns: {
      ...{ id: text, tenant: text, source: text, source_id: text, subject: text, at: integer },
      ...{ code: text, category: text, message: text, attempts: integer, version: integer },
    },
    key: ["id"],
    age: "at",
  },
  /** Who did what: a chain (`audit-chain.ts`). */
  audit: {
    columns: {
      ...{ id: text, tenant: text, at: integer, actor: text, action: text, target: text },
      ...{ before_digest: text, after_digest: text, address: text, version: integer },
      ...AUDIT_CHAIN,
    },
    key: ["id"],
    age: "at",
  },
} as const satisfies Record<HistoryTable, Table>;

/** Columns with what people and models said, or may have: they can go before their rows. */
export const CONTENTS = {
  jobs: ["prompt", "answer", "error_message"],
  batches: ["error_message"],
  runs: ["error_message"],
  errors: ["message"],
} as const satisfies { [T in HistoryTable]?: readonly (keyof (typeof TABLES)[T]["columns"])[] };

/** SQL: a row has contents. */
export function hasContents(table: keyof typeof CONTENTS): string {
  return `(${CONTENTS[table].map((column) => `${column} IS NOT NULL`).join(" OR ")})`;
}

export type TableName = HistoryTable;
export const TABLE_NAMES = HISTORY_TABLES;

/** What SQL takes and gives. */
export type SqlValue = string | number | null;

/** A row of a table; a column that is absent is null. */
export type RowOf<T extends TableName> = Partial<Record<keyof (typeof TABLES)[T]["columns"], SqlValue>>;

/** Rows by their table. */
export type Rows = { [T in TableName]?: RowOf<T>[] };

export function columnsOf(table: TableName): [string, ColumnType][] {
  return Object.entries(TABLES[table].columns);
}

/** Returns USD as whole micro-USD; null when nobody knows it. */
export function microUsd(usd: number | null | undefined): number | null {
  return usd == null ? null : Math.round(usd * 1_000_000);
}

/**
 * Returns the values of rows, in the order of the table's columns. Of each key there is one, that which came to be last: a statement must
 * not meet a key twice. What an engine would not take becomes what both take.
 */
export function storable(table: TableName, rows: readonly Record<string, SqlValue>[]): SqlValue[][] {
  const { key } = TABLES[table];
  const columns = columnsOf(table);
  const latest = new Map<string, Record<string, SqlValue>>();
  for (const row of rows) {
    const id = key.map((column) => row[column]).join("\n");
    const known = latest.get(id);
    if (!known || Number(known.version) <= Number(row.version)) latest.set(id, row);
  }
  // In one order for all writers, so that none waits for another one that waits for it.
  const sorted = [...latest].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([, row]) => columns.map(([column, type]) => sqlValue(type, row[column])));
}

/** PostgreSQL's texts have no NUL and no half of a character. */
export function storedText(text: string): string {
  return text.replaceAll("\0", "\u{fffd}").toWellFormed();
}

/** PostgreSQL's whole numbers have no fraction. */
function sqlValue(type: ColumnType, value: SqlValue | undefined): SqlValue {
  if (value == null) return null;
  if (type === "text") return storedText(String(value));
  const number = Math.round(Number(value));
  return Number.isSafeInteger(number) ? number : null;
}
