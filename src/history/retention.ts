import type { HistorySettings } from "../shared/history-setting.ts";
import type { HistoryDatabase } from "./database.ts";
import { TABLE_NAMES, TABLES, type TableName } from "./tables.ts";

/** Rows that are removed in one transaction: others write in between. */
const SLICE = 1000;

/** Removes the rows that are older than the settings say. Returns how many of each table, of those that had some. */
export async function removeOldRows(
  history: HistoryDatabase,
  retentionMs: HistorySettings["retentionMs"],
  now: number,
  signal?: AbortSignal,
): Promise<Partial<Record<TableName, number>>> {
  const removed: Partial<Record<TableName, number>> = {};
  for (const table of TABLE_NAMES) {
    const { key, age } = TABLES[table];
    const columns = key.join(", ");
    const old = `SELECT ${columns} FROM ${table} WHERE ${age} < $1 LIMIT ${SLICE}`;
    for (let count = SLICE; count === SLICE && !signal?.aborted; ) {
      count = await history.remove(`DELETE FROM ${table} WHERE (${columns}) IN (${old})`, [
        now - retentionMs[table],
      ]);
      if (count > 0) removed[table] = (removed[table] ?? 0) + count;
    }
  }
  return removed;
}
