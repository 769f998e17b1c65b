import {
  AUDIT_CHAIN,
  CONTENTS,
  columnsOf,
  hasContents,
  TABLE_NAMES,
  TABLES,
  type TableName,
} from "./tables.ts";

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

const WITH_CONTENTS = Object.keys(CONTENTS) as (keyof typeof CONTENTS)[];

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, statements: (text) => [...TABLE_NAMES.map((name) => createTable(name, text)), ...INDEXES] },
  {
    version: 2,
    statements: (text) => [
      ...Object.entries(AUDIT_CHAIN).map(
        ([column, type]) => `ALTER TABLE audit ADD COLUMN ${column} ${type === "text" ? text : "BIGINT"}`,
      ),
      "CREATE UNIQUE INDEX audit_seq ON audit (seq)",
      "CREATE INDEX audit_act ON audit (act)",
    ],
  },
  {
    version: 3,
    // Who looks for contents that are to go need not look at all rows that have none any more.
    statements: () =>
      WITH_CONTENTS.map(
        (table) =>
          `CREATE INDEX ${table}_contents ON ${table} (${TABLES[table].age}) WHERE ${hasContents(table)}`,
      ),
  },
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
  const columns = columnsOf(name)
    .filter(([column]) => !(name === "audit" && column in AUDIT_CHAIN))
    .map(([column, type]) => {
      const isKey = (key as readonly string[]).includes(column);
      return `${column} ${type === "text" ? text : "BIGINT"}${isKey || column === "version" ? " NOT NULL" : ""}`;
    });
  return `CREATE TABLE ${name} (${columns.join(", ")}, PRIMARY KEY (${key.join(", ")}))`;
}
