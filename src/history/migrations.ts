import { columnsOf, TABLE_NAMES, TABLES, type TableName } from "./tables.ts";

/*
 * The versions of the schema, in order. A migration that was released is never changed: what comes later is one more. The first one
 * makes the tables as they are in `tables.ts`; a column that is added there from now on needs a migration of its own, which leaves
 * a table alone that has it already.
 */

interface Migration {
  version: number;
  /** @param text the type of a column of text, which sorts by code points on both engines */
  statements(text: string): string[];
}

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, statements: (text) => [...TABLE_NAMES.map((name) => createTable(name, text)), ...INDEXES] },
];

export const SCHEMA_VERSION = MIGRATIONS.length;

const INDEXES = [
  "CREATE INDEX jobs_ended ON jobs (ended_at)",
  "CREATE INDEX jobs_tenant ON jobs (tenant, ended_at)",
  "CREATE INDEX calls_ended ON calls (ended_at)",
  "CREATE INDEX calls_tenant ON calls (tenant, ended_at)",
  "CREATE INDEX calls_job ON calls (job_id)",
  "CREATE INDEX batches_updated ON batches (updated_at)",
  "CREATE INDEX runs_updated ON runs (updated_at)",
  "CREATE INDEX runs_ended ON runs (ended_at)",
  "CREATE INDEX steps_updated ON steps (updated_at)",
  "CREATE INDEX errors_at ON errors (at)",
  "CREATE INDEX errors_code ON errors (code, at)",
  "CREATE INDEX audit_at ON audit (at)",
];

function createTable(name: TableName, text: string): string {
  const { key } = TABLES[name];
  const columns = columnsOf(name).map(([column, type]) => {
    const isKey = (key as readonly string[]).includes(column);
    return `${column} ${type === "text" ? text : "BIGINT"}${isKey || column === "version" ? " NOT NULL" : ""}`;
  });
  return `CREATE TABLE ${name} (${columns.join(", ")}, PRIMARY KEY (${key.join(", ")}))`;
}
