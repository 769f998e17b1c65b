import type { Secret } from "./secret.ts";

/** The tables of the history. */
export const HISTORY_TABLES = ["jobs", "calls", "batches", "runs", "steps", "errors", "audit"] as const;
export type HistoryTable = (typeof HISTORY_TABLES)[number];

/** What is kept of prompts and answers: their first 200 characters, all of them, or nothing. */
export const HISTORY_CONTENTS = ["preview", "full", "none"] as const;
type HistoryContent = (typeof HISTORY_CONTENTS)[number];

export interface HistorySettings {
  /** Whether what ends is written down. Default: where the Redis is embedded, or there is a database. */
  enabled: boolean;
  /** The PostgreSQL database; undefined: a SQLite file in the data folder. */
  databaseUrl: Secret | undefined;
  content: HistoryContent;
  /** How long the rows of each table stay, in milliseconds. */
  retentionMs: Readonly<Record<HistoryTable, number>>;
}

/** Longer than the life of anything in Redis, and two quarters can be compared. */
export const HISTORY_RETENTION_SECONDS = 180 * 86_400;
export const MAX_HISTORY_RETENTION_SECONDS = 3650 * 86_400;

type RetentionVariable = `RETENTION_HISTORY_${Uppercase<HistoryTable>}`;

function variableOf(table: HistoryTable): RetentionVariable {
  return `RETENTION_HISTORY_${table.toUpperCase() as Uppercase<HistoryTable>}`;
}

/** Returns something for the variable of each table that says how long its rows stay. */
export function ofEachTable<T>(make: () => T): Record<RetentionVariable, T> {
  return Object.fromEntries(HISTORY_TABLES.map((table) => [variableOf(table), make()])) as Record<
    RetentionVariable,
    T
  >;
}

/** Returns how long the rows of each table stay: as its variable says in seconds, else as that of all tables does. */
export function historyRetentionMs(
  values: { RETENTION_HISTORY: number } & { [Name in RetentionVariable]?: number | undefined },
): Record<HistoryTable, number> {
  const msOf = (table: HistoryTable) => (values[variableOf(table)] ?? values.RETENTION_HISTORY) * 1000;
  return Object.fromEntries(HISTORY_TABLES.map((table) => [table, msOf(table)])) as Record<
    HistoryTable,
    number
  >;
}
