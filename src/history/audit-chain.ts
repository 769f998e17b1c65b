import { createHmac } from "node:crypto";
import { canonicalJson } from "../shared/canonical-json.ts";
import type { Secret } from "../shared/secret.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import type { Audit } from "../store/audit.ts";
import type { GroupEntry } from "../store/stream-group.ts";
import type { HistoryDatabase } from "./database.ts";
import { columnsOf, type RowOf, type SqlValue, storedText } from "./tables.ts";

/*
 * The table `audit` is a chain: each row has its place (`seq`), the HMAC of the row before it (`prev`), and an HMAC of its own over all
 * of that (`hash`). Who changes a row, takes one out or puts one in would have to know the key. `number` counts the entries in Redis
 * (`store/audit.ts`), so that one that never came here shows too.
 */

export type AuditRow = RowOf<"audit">;

/** An act by which the oldest rows go: its `target` is the place of the last one. */
export const EXPIRE = "audit.expire";

/** The end of the chain; of an empty one place 0 and no HMAC. */
export interface ChainHead {
  seq: number;
  hash: string;
}

async function readHead(history: HistoryDatabase): Promise<ChainHead> {
  const [row] = await history.query<{ seq: number; hash: string }>(
    "SELECT seq, hash FROM audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1",
  );
  return { seq: Number(row?.seq ?? 0), hash: String(row?.hash ?? "") };
}

/**
 * Adds entries of Redis to the chain, those that it has already left out. Two that do so at once get the same rows, or one of them fails:
 * a place has one row. Returns the new head.
 * @param noted the head as Redis knows it: where SQL has less, rows were lost, and the chain goes on behind the gap
 */
export async function addToChain(
  history: HistoryDatabase,
  entries: readonly GroupEntry[],
  { key, noted }: { key: Secret; noted: ChainHead },
): Promise<ChainHead> {
  const own = await readHead(history);
  let head = noted.seq > own.seq ? noted : own;
  const list = entries.map((_, n) => `$${n + 1}`).join(", ");
  const found = await history.query<{ id: string }>(
    `SELECT id FROM audit WHERE id IN (${list})`,
    entries.map(({ id }) => id),
  );
  const known = new Set(found.map(({ id }) => id));
  const rows: AuditRow[] = [];
  for (const { id, fields } of entries) {
    if (known.has(id) || fields.length === 0) continue;
    const row = { ...rowOf(id, fields), seq: head.seq + 1, prev: head.hash };
    const hash = hashOf(key, row);
    rows.push({ ...row, hash });
    head = { seq: row.seq, hash };
  }
  if (rows.length > 0) await history.write({ audit: rows });
  return head;
}

function rowOf(id: string, fields: readonly string[]): AuditRow {
  const entry = new Map<string, string>();
  for (let n = 0; n + 1 < fields.length; n += 2) entry.set(fields[n] ?? "", storedText(fields[n + 1] ?? ""));
  const text = (name: string) => entry.get(name) ?? null;
  const number = (name: string) => (entry.has(name) ? Number(entry.get(name)) : null);
  const isEnd = text("phase") === "ended";
  return {
    ...{ id, tenant: text("tenant"), at: number("at"), actor: text("actor"), action: text("action") },
    ...{ target: text("target"), address: text("address"), version: number("at") },
    before_digest: isEnd ? null : text("digest"),
    after_digest: isEnd ? text("digest") : null,
    ...{ number: number("number"), epoch: text("epoch"), phase: text("phase"), act: number("act") },
    ...{ role: text("role"), outcome: text("outcome"), request_id: text("requestId") },
  };
}

/**
 * Removes the oldest rows, in two steps: that they go is an act, and they are removed once the chain has it, so that the check tells it from a gap.
 * Returns how many were removed now.
 */
export async function expireActs(history: HistoryDatabase, audit: Audit, before: number): Promise<number> {
  const [told] = await history.query<{ seq: number | null }>(
    "SELECT MAX(CAST(target AS BIGINT)) AS seq FROM audit WHERE action = $1 AND phase = 'ended'",
    [EXPIRE],
  );
  const toldTo = Number(told?.seq ?? 0);
  const removed = toldTo > 0 ? await history.remove("DELETE FROM audit WHERE seq <= $1", [toldTo]) : 0;
  const [old] = await history.query<{ seq: number | null }>(
    "SELECT MAX(seq) AS seq FROM audit WHERE at < $1 AND seq > $2",
    [before, toldTo],
  );
  const act = { actor: "gluellm", tenant: DEFAULT_TENANT, action: EXPIRE, target: String(old?.seq) };
  if (old?.seq != null) await audit.around(act, async () => {});
  return removed;
}

/** What an HMAC is over: all columns but itself and `version`, which says nothing more. */
const COLUMNS = columnsOf("audit").flatMap(([name]) => (name === "hash" || name === "version" ? [] : [name]));

/** Returns the HMAC-SHA-256 of a row, in hex. */
export function hashOf(key: Secret, row: AuditRow): string {
  const values = row as Record<string, SqlValue | undefined>;
  const told = canonicalJson(COLUMNS.map((name) => values[name] ?? null));
  return createHmac("sha256", key.reveal()).update(told).digest("hex");
}
