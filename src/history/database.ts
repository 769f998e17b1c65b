import type { Rows, SqlValue } from "./tables.ts";

/** Where the history is kept. Statements are the same on both engines; their parameters are `$1`, `$2` … */
export interface HistoryDatabase {
  readonly engine: "sqlite" | "postgres";
  /** The file, or the server and database, for people; never a password. */
  readonly place: string;
  /** Returns the rows of a statement. @throws Error of the engine */
  query<Row extends Record<string, SqlValue>>(sql: string, parameters?: readonly SqlValue[]): Promise<Row[]>;
  /** Writes rows in one transaction: each takes the place of an older one of its key. Resolves after the commit. */
  write(rows: Rows): Promise<void>;
  /** Deletes, or changes, a statement's rows. Returns how many there were. */
  remove(sql: string, parameters?: readonly SqlValue[]): Promise<number>;
  close(): Promise<void>;
}
