import type { z } from "zod";
import type { Secret } from "./secret.ts";
import { integer } from "./setting-types.ts";

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
  /** How long their prompts, answers and error messages do, in milliseconds; undefined: as long as their rows. */
  contentsMs: number | undefined;
  /** The most rows of each table; undefined: any number. The audit has no such limit, by which acts could push out others. */
  maxRows: Readonly<Partial<Record<HistoryTable, number | undefined>>>;
}

/** Longer than the life of anything in Redis, and two quarters can be compared. */
const HISTORY_RETENTION_SECONDS = 180 * 86_400;
const MAX_HISTORY_RETENTION_SECONDS = 3650 * 86_400;

const COUNTED_TABLES = ["jobs", "calls", "batches", "runs", "steps", "errors"] as const;
type CountedTable = (typeof COUNTED_TABLES)[number];

type RetentionVariable = `RETENTION_HISTORY_${Uppercase<HistoryTable>}`;
type CountVariable = `HISTORY_MAX_ROWS_${Uppercase<CountedTable>}`;

function variableOf(table: HistoryTable): RetentionVariable {
  return `RETENTION_HISTORY_${table.toUpperCase() as Uppercase<HistoryTable>}`;
}

function countVariableOf(table: CountedTable): CountVariable {
  return `HISTORY_MAX_ROWS_${table.toUpperCase() as Uppercase<CountedTable>}`;
}

const seconds = integer(60, MAX_HISTORY_RETENTION_SECONDS);
const ofEachTable = Object.fromEntries(
  HISTORY_TABLES.map((table) => [variableOf(table), seconds.optional()]),
) as Record<RetentionVariable, z.ZodOptional<typeof seconds>>;

const rows = integer(1, Number.MAX_SAFE_INTEGER).optional();
const rowsOfEachTable = Object.fromEntries(
  COUNTED_TABLES.map((table) => [countVariableOf(table), rows]),
) as Record<CountVariable, typeof rows>;

/** Variables of how long the history stays, and how much of it. */
export const historyRetentionVariables = {
  RETENTION_HISTORY: seconds.default(HISTORY_RETENTION_SECONDS),
  ...ofEachTable,
  RETENTION_HISTORY_CONTENTS: seconds.optional(),
  HISTORY_MAX_ROWS: rows,
  ...rowsOfEachTable,
};

type RetentionValues = {
  RETENTION_HISTORY: number;
  RETENTION_HISTORY_CONTENTS?: number | undefined;
} & { [Name in RetentionVariable]?: number | undefined };

/** Returns the most rows of each table: as its variable says, else as that of all tables does. */
export function historyMaxRows(
  values: { HISTORY_MAX_ROWS?: number | undefined } & { [Name in CountVariable]?: number | undefined },
): HistorySettings["maxRows"] {
  const maxOf = (table: CountedTable) => values[countVariableOf(table)] ?? values.HISTORY_MAX_ROWS;
  return Object.fromEntries(COUNTED_TABLES.map((table) => [table, maxOf(table)]));
}

/** Returns what is wrong with the variables together. */
export function historyFaults(values: RetentionValues): string[] {
  const { jobs, batches, runs, errors } = historyRetentionMs(values);
  const longest = Math.max(jobs, batches, runs, errors) / 1000;
  return (values.RETENTION_HISTORY_CONTENTS ?? 0) > longest
    ? [`GLUELLM_RETENTION_HISTORY_CONTENTS: contents go with their rows, which stay for ${longest} s at most`]
    : [];
}

/** Returns how long the rows of each table stay: as its variable says in seconds, else as that of all tables does. */
export function historyRetentionMs(values: RetentionValues): Record<HistoryTable, number> {
  const msOf = (table: HistoryTable) => (values[variableOf(table)] ?? values.RETENTION_HISTORY) * 1000;
  return Object.fromEntries(HISTORY_TABLES.map((table) => [table, msOf(table)])) as Record<
    HistoryTable,
    number
  >;
}
