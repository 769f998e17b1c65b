import type { KnownObject, PurgeTarget } from "../store/purge-targets.ts";
import type { HistoryDatabase } from "./database.ts";
import type { SqlValue, TableName } from "./tables.ts";

/** The columns that name objects, by the kind of these. The audit stays: it tells of acts, not of what was asked. */
const COLUMNS = {
  job: [
    ["jobs", "id"],
    ["calls", "job_id"],
    ["steps", "job_id"],
    ["errors", "source_id"],
  ],
  run: [
    ["jobs", "run_id"],
    ["calls", "run_id"],
    ["runs", "id"],
    ["runs", "parent_run_id"],
    ["steps", "run_id"],
    ["errors", "source_id"],
  ],
  batch: [
    ["jobs", "batch_id"],
    ["calls", "batch_id"],
    ["batches", "id"],
    ["errors", "source_id"],
  ],
  conversation: [["jobs", "conversation_id"]],
} as const satisfies Record<string, readonly (readonly [TableName, string])[]>;
const OF_TENANT = ["jobs", "calls", "batches", "runs", "steps", "errors"] as const satisfies TableName[];
/** Ids in one statement. */
const CHUNK = 500;

type Place = readonly [table: TableName, column: string, values: readonly SqlValue[]];

function placesOf(target: PurgeTarget, objects: readonly KnownObject[]): Place[] {
  if (target.kind === "tenant") return OF_TENANT.map((table) => [table, "tenant", [target.id]]);
  const ofKind = Map.groupBy([...objects, target], ({ kind }) => kind);
  return Object.entries(COLUMNS).flatMap(([kind, columns]) => {
    const ids = [...new Set(ofKind.get(kind as keyof typeof COLUMNS)?.map(({ id }) => id))];
    const chunks = Array.from({ length: Math.ceil(ids.length / CHUNK) }, (_, n) =>
      ids.slice(n * CHUNK, (n + 1) * CHUNK),
    );
    return columns.flatMap(([table, column]) => chunks.map((chunk): Place => [table, column, chunk]));
  });
}

/** Returns the jobs and runs of a target that the history still knows; Redis may have forgotten them. */
export async function pastObjects(history: HistoryDatabase, target: PurgeTarget): Promise<KnownObject[]> {
  const found: KnownObject[] = [];
  for (const [table, column, values] of placesOf(target, [])) {
    if (table !== "jobs" && table !== "runs") continue;
    const rows = await history.query<{ id: string; tenant: string }>(
      `SELECT id, tenant FROM ${table} WHERE ${column} IN (${list(values)})`,
      values,
    );
    const kind = table === "jobs" ? "job" : "run";
    for (const { id, tenant } of rows) found.push({ kind, id, tenant, of: [target.id], isOpen: false });
  }
  return found;
}

/** Returns how many rows each table has of the objects; with `removes` they are gone then, from the file's free pages too. */
export async function purgeHistory(
  history: HistoryDatabase,
  { target, objects, removes }: { target: PurgeTarget; objects: readonly KnownObject[]; removes: boolean },
): Promise<Partial<Record<TableName, number>>> {
  const counts: Partial<Record<TableName, number>> = {};
  for (const [table, column, values] of placesOf(target, objects)) {
    const where = `FROM ${table} WHERE ${column} IN (${list(values)})`;
    const [row] = await history.query<{ count: number }>(
      `SELECT CAST(COUNT(*) AS BIGINT) AS count ${where}`,
      values,
    );
    const count = Number(row?.count ?? 0);
    if (count === 0) continue;
    counts[table] = (counts[table] ?? 0) + count;
    if (removes) await history.remove(`DELETE ${where}`, values);
  }
  if (removes && history.engine === "sqlite") await history.query("PRAGMA wal_checkpoint(TRUNCATE)");
  return counts;
}

function list(values: readonly SqlValue[]): string {
  return values.map((_, n) => `$${n + 1}`).join(", ");
}
