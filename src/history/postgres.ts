import { createHash } from "node:crypto";
import type { Client, Pool, PoolConfig } from "pg";
import { ConfigurationError } from "../shared/errors.ts";
import type { HistoryDatabase } from "./database.ts";
import { MIGRATIONS, SCHEMA_VERSION } from "./migrations.ts";
import { newerSchema, onConflict } from "./sqlite-file.ts";
import { columnsOf, type Rows, type SqlValue, storable, type TableName } from "./tables.ts";

/** Held while the schema is made or brought up to date; a number of our own. */
const MIGRATION_LOCK = 7_241_881_093;
const MAX_CONNECTIONS = 4;
const CONNECT_MS = 10_000;
const STATEMENT_MS = 60_000;
const INT8 = 20;

/** The history in a PostgreSQL database. */
export class PostgresHistory implements HistoryDatabase {
  readonly engine = "postgres";
  readonly place: string;
  readonly #pool: Pool;

  private constructor(pool: Pool, place: string) {
    this.#pool = pool;
    this.place = place;
  }

  /** @throws ConfigurationError `missing_package`; Error when the server does not let us in */
  static async open(url: string, namespace: string): Promise<PostgresHistory> {
    const { default: pg } = await import("pg").catch(() => {
      throw new ConfigurationError(
        "GLUELLM_DATABASE_URL needs the package pg, which is not installed",
        "npm install pg",
        "missing_package",
      );
    });
    const getTypeParser = ((oid: number, format?: "text") =>
      oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser;
    const schema = schemaOf(namespace);
    const options: PoolConfig = {
      connectionString: url,
      max: MAX_CONNECTIONS,
      application_name: "gluellm",
      options: `-c search_path="${schema}"`,
      connectionTimeoutMillis: CONNECT_MS,
      statement_timeout: STATEMENT_MS,
      types: { getTypeParser },
      allowExitOnIdle: true,
    };
    const pool = new pg.Pool(options);
    // An idle connection that the server ends is replaced by the next question.
    pool.on("error", () => {});
    // Nor does one that ends in the midst of a transaction end the process: what is asked next of it fails.
    pool.on("connect", (client) => client.on("error", () => {}));
    const history = new PostgresHistory(pool, placeOf(url));
    try {
      await history.#migrate(schema);
      return history;
    } catch (error) {
      await pool.end();
      throw error;
    }
  }

  async query<Row extends Record<string, SqlValue>>(
    sql: string,
    parameters: readonly SqlValue[] = [],
  ): Promise<Row[]> {
    return (await this.#pool.query<Row>(sql, [...parameters])).rows;
  }

  write(rows: Rows): Promise<void> {
    return this.#inTransaction(async (client) => {
      for (const [name, given] of Object.entries(rows)) {
        const table = name as TableName;
        const values = storable(table, given);
        if (values.length === 0) continue;
        await client.query(
          insertOf(table),
          columnsOf(table).map((_, i) => values.map((row) => row[i])),
        );
      }
    });
  }

  async remove(sql: string, parameters: readonly SqlValue[] = []): Promise<number> {
    return (await this.#pool.query(sql, [...parameters])).rowCount ?? 0;
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  #migrate(schema: string): Promise<void> {
    return this.#inTransaction(async (client) => {
      await client.query("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
      // Who may only use the schema need not be let make one.
      const { rowCount } = await client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [schema]);
      if (rowCount === 0) await client.query(`CREATE SCHEMA "${schema}"`);
      await client.query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)");
      const { rows } = await client.query("SELECT MAX(version) AS version FROM schema_version");
      const version = Number(rows[0]?.version ?? 0);
      if (version > SCHEMA_VERSION) throw new Error(newerSchema(version));
      for (const migration of MIGRATIONS.slice(version)) {
        for (const statement of migration.statements('TEXT COLLATE "C"')) await client.query(statement);
        await client.query("INSERT INTO schema_version VALUES ($1)", [migration.version]);
      }
    });
  }

  async #inTransaction(work: (client: Pick<Client, "query">) => Promise<void>): Promise<void> {
    const client = await this.#pool.connect();
    let fault: Error | undefined;
    try {
      await client.query("BEGIN");
      await work(client);
      await client.query("COMMIT");
    } catch (error) {
      fault = error as Error;
      await client.query("ROLLBACK").catch(() => {});
      throw error;
    } finally {
      // What a fault leaves of a connection is not used again.
      client.release(fault);
    }
  }
}

/** All rows of a statement in one array per column: one round trip, whatever their number. */
function insertOf(table: TableName): string {
  const columns = columnsOf(table);
  const names = columns.map(([column]) => column).join(", ");
  const arrays = columns.map(([, type], i) => `$${i + 1}::${type === "text" ? "text" : "bigint"}[]`);
  return `INSERT INTO ${table} (${names}) SELECT * FROM unnest(${arrays.join(", ")}) ${onConflict(table)}`;
}

/** Each namespace has a schema of its own: `gluellm_default`. Names have at most 63 bytes. */
function schemaOf(namespace: string): string {
  const name = `gluellm_${namespace}`;
  if (name.length <= 63) return name;
  return `${name.slice(0, 46)}_${createHash("sha256").update(namespace).digest("hex").slice(0, 16)}`;
}

function placeOf(url: string): string {
  const known = url.replace(/@\//, "@localhost/");
  const parsed = URL.canParse(known) ? new URL(known) : undefined;
  return parsed ? `${parsed.searchParams.get("host") ?? parsed.host}${parsed.pathname}` : "postgres";
}
