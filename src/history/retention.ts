import type { HistorySettings, HistoryTable } from "../shared/history-setting.ts";
import type { TenantSettings } from "../store/tenant.ts";
import type { HistoryDatabase } from "./database.ts";
import { CONTENTS, hasContents, type SqlValue, TABLE_NAMES, TABLES, type TableName } from "./tables.ts";

/** Rows that are removed or changed in one transaction: others write in between. */
const SLICE = 1000;
const DAY_MS = 86_400_000;

/** Of the audit, a chain, rows go in a way of their own (audit-chain.ts). */
const ROW_TABLES = TABLE_NAMES.filter((name) => name !== "audit");
const CONTENT_TABLES = Object.keys(CONTENTS) as (keyof typeof CONTENTS)[];

export type HistoryRules = Pick<HistorySettings, "retentionMs" | "contentsMs" | "maxRows">;

interface RetentionOptions {
  /** Epoch milliseconds. */
  now: number;
  /** Settings of tenants by their name; of one whose settings are damaged nothing goes by its age. */
  tenants?: ReadonlyMap<string, TenantSettings | undefined>;
  signal?: AbortSignal | undefined;
}

/** How many rows went of each table that had some; `contents`: how many lost their prompt, answer or error message. */
type RetentionReport = Partial<Record<TableName | "contents", number>>;

/** Removes what stays no longer by the settings: contents first, then rows by their age, then those that are too many. */
export async function enforceRetention(
  history: HistoryDatabase,
  rules: HistoryRules,
  { tenants = new Map(), now, signal }: RetentionOptions,
): Promise<RetentionReport> {
  const report: RetentionReport = {};
  const run = async (kind: keyof RetentionReport, statement: Statement) => {
    const count = await inSlices(history, statement, signal);
    if (count > 0) report[kind] = (report[kind] ?? 0) + count;
  };
  for (const table of CONTENT_TABLES) {
    const begin = `UPDATE ${table} SET ${CONTENTS[table].map((column) => `${column} = NULL`).join(", ")}`;
    for (const part of partsBy("historyContentDays", rules.contentsMs, tenants))
      await run("contents", { table, begin, ...olderThan(table, now, part, hasContents(table)) });
  }
  for (const table of ROW_TABLES)
    for (const part of partsBy("historyDays", rules.retentionMs[table], tenants))
      await run(table, { table, begin: `DELETE FROM ${table}`, ...olderThan(table, now, part) });
  const limits = [...tenants].map(([tenant, settings]) => ({ tenant, max: settings?.historyMaxRows }));
  for (const table of ROW_TABLES)
    for (const { tenant, max } of [...limits, { tenant: undefined, max: rules.maxRows[table] }]) {
      const rows = max === undefined ? undefined : await beyondCount(history, table, max, tenant);
      if (rows) await run(table, { table, begin: `DELETE FROM ${table}`, ...rows });
    }
  return report;
}

/** Tenants with the same retention, or all but some. */
interface Part {
  ms: number;
  names: readonly string[];
  isAllBut: boolean;
}

function partsBy(
  setting: "historyDays" | "historyContentDays",
  ms: number | undefined,
  tenants: ReadonlyMap<string, TenantSettings | undefined>,
): Part[] {
  const own = [...tenants].filter(([, settings]) => !settings || settings[setting] !== undefined);
  const byDays = Map.groupBy(own, ([, settings]) => settings?.[setting]);
  const parts = [...byDays].flatMap(([days, some]): Part[] =>
    days === undefined ? [] : [{ ms: days * DAY_MS, names: some.map(([name]) => name), isAllBut: false }],
  );
  if (ms !== undefined) parts.push({ ms, names: own.map(([name]) => name), isAllBut: true });
  return parts;
}

/** Rows that a condition finds. */
interface RowsWhere {
  where: string;
  parameters: readonly SqlValue[];
}

interface Statement extends RowsWhere {
  table: HistoryTable;
  /** All before its `WHERE`. */
  begin: string;
}

function olderThan(
  table: HistoryTable,
  now: number,
  { ms, names, isAllBut }: Part,
  more?: string,
): RowsWhere {
  const list = names.map((_, n) => `$${n + 2}`).join(", ");
  const ofTenants = names.length > 0 && `tenant ${isAllBut ? "NOT " : ""}IN (${list})`;
  const conditions = [more, `${TABLES[table].age} < $1`, ofTenants];
  return { where: conditions.filter(Boolean).join(" AND "), parameters: [now - ms, ...names] };
}

/** Returns which rows are more than a table may have, the oldest ones; undefined where there are not so many. */
async function beyondCount(
  history: HistoryDatabase,
  table: HistoryTable,
  max: number,
  tenant: string | undefined,
): Promise<RowsWhere | undefined> {
  // Many rows may be of one moment, as the steps of a run are.
  const order = [TABLES[table].age, ...TABLES[table].key];
  const of = tenant === undefined ? [] : [tenant];
  const condition = tenant === undefined ? "" : "tenant = $1";
  const latestFirst = order.map((column) => `${column} DESC`).join(", ");
  const [last] = await history.query(
    `SELECT ${order.join(", ")} FROM ${table} ${condition && `WHERE ${condition}`} ORDER BY ${latestFirst} LIMIT 1 OFFSET ${max}`,
    of,
  );
  if (!last) return undefined;
  const place = order.map((_, n) => `$${n + 1 + of.length}`).join(", ");
  return {
    where: `${condition && `${condition} AND `}(${order.join(", ")}) <= (${place})`,
    parameters: [...of, ...order.map((column) => last[column] ?? null)],
  };
}

async function inSlices(
  history: HistoryDatabase,
  { table, begin, where, parameters }: Statement,
  signal: AbortSignal | undefined,
): Promise<number> {
  const key = TABLES[table].key.join(", ");
  const some = `SELECT ${key} FROM ${table} WHERE ${where} LIMIT ${SLICE}`;
  let all = 0;
  for (let count = SLICE; count === SLICE && !signal?.aborted; all += count)
    count = await history.remove(`${begin} WHERE (${key}) IN (${some})`, parameters);
  return all;
}
