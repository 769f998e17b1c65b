import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { MIGRATIONS, SCHEMA_VERSION } from "./migrations.ts";
import { columnsOf, type Rows, type SqlValue, storable, TABLES, type TableName } from "./tables.ts";

/* The history's file, as the thread that works on it has it open: each call blocks that thread. */

/** How long a statement waits for another process's transaction. */
const BUSY_MS = 5000;

/** The history's SQLite file. */
export class SqliteFile {
  readonly #database: DatabaseSync;

  /** Opens the file, and makes it when there is none: its owner's alone, since it may hold prompts. */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const sqlite = process.getBuiltinModule("node:sqlite");
    this.#database = new sqlite.DatabaseSync(path);
    try {
      chmodSync(path, 0o600);
      this.#database.exec(
        `PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON`,
      );
      this.#migrate();
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  query(sql: string, parameters: readonly SqlValue[]): Record<string, SqlValue>[] {
    return this.#database.prepare(sql).all(bound(parameters)) as Record<string, SqlValue>[];
  }

  write(rows: Rows): void {
    this.#inTransaction(() => {
      for (const [name, given] of Object.entries(rows)) {
        const table = name as TableName;
        const insert = this.#database.prepare(upsertOf(table));
        for (const values of storable(table, given)) insert.run(...values);
      }
    });
  }

  remove(sql: string, parameters: readonly SqlValue[]): number {
    return Number(this.#database.prepare(sql).run(bound(parameters)).changes);
  }

  close(): void {
    this.#database.close();
  }

  #migrate(): void {
    this.#inTransaction(() => {
      this.#database.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)");
      const [found] = this.query("SELECT MAX(version) AS version FROM schema_version", []);
      const version = Number(found?.version ?? 0);
      if (version > SCHEMA_VERSION) throw new Error(newerSchema(version));
      for (const migration of MIGRATIONS.slice(version)) {
        for (const statement of migration.statements("TEXT")) this.#database.exec(statement);
        this.#database.exec(`INSERT INTO schema_version VALUES (${migration.version})`);
      }
    });
  }

  #inTransaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      // A full disk has rolled it back already.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}

export const MADE_BY_A_LATER_ONE = "made by a later gluellm than this one";

export function newerSchema(version: number): string {
  return `its schema is of version ${version}, ${MADE_BY_A_LATER_ONE} (${SCHEMA_VERSION})`;
}

function upsertOf(table: TableName): string {
  const columns = columnsOf(table).map(([column]) => column);
  return `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")}) ${onConflict(table)}`;
}

/** What becomes of a row whose key is there already: the later one stands. Both engines read it. */
export function onConflict(table: TableName): string {
  const { key } = TABLES[table];
  const others = columnsOf(table).flatMap(([column]) =>
    (key as readonly string[]).includes(column) ? [] : [column],
  );
  const set = others.map((column) => `${column} = excluded.${column}`).join(", ");
  return `ON CONFLICT (${key.join(", ")}) DO UPDATE SET ${set} WHERE excluded.version >= ${table}.version`;
}

function bound(parameters: readonly SqlValue[]): Record<string, SqlValue> {
  return Object.fromEntries(parameters.map((value, i) => [`$${i + 1}`, value]));
}
