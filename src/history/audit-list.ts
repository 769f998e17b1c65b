import type { HistoryDatabase } from "./database.ts";
import type { SqlValue } from "./tables.ts";

/** One act, as the audit has it. */
export interface AuditedAct {
  /** Its place in the chain. */
  seq: number;
  at: Date;
  /** A key's id; `link`, `password`; `cli:<user>@<host>`; `local`. */
  actor: string;
  role: string | null;
  address: string | null;
  tenant: string;
  action: string;
  target: string | null;
  /** `done`, or the code of the error; null: it was cut off, or goes on. */
  outcome: string | null;
  /** SHA-256 of what Redis had of the target; null: nothing. */
  beforeDigest: string | null;
  afterDigest: string | null;
  requestId: string | null;
}

export interface AuditQuery {
  since?: number;
  until?: number;
  tenant?: string | undefined;
  /** A part of it, whatever its case. */
  actor?: string | undefined;
  action?: string | undefined;
  target?: string | undefined;
  /** Before this place. */
  before?: number | undefined;
  /** Default 100, at most 1000. */
  limit?: number;
}

const MAX_ROWS = 1000;
const DAY_MS = 86_400_000;

/** Returns acts, the latest first; by default those of the last day. An act's end tells who it was where only that knows. */
export async function listActs(
  history: HistoryDatabase,
  { since = Date.now() - DAY_MS, until, tenant, before, limit = 100, ...parts }: AuditQuery = {},
): Promise<AuditedAct[]> {
  const parameters: SqlValue[] = [Math.floor(since)];
  const conditions = ["a.phase = 'begun'", "a.at >= $1"];
  const where = (condition: string, value: SqlValue) =>
    conditions.push(condition.replaceAll("?", `$${parameters.push(value)}`));
  if (until !== undefined) where("a.at < ?", Math.floor(until));
  if (tenant !== undefined) where("a.tenant = ?", tenant);
  if (before !== undefined) where("a.seq < ?", before);
  for (const [name, text] of Object.entries(parts))
    if (text !== undefined)
      where(`LOWER(COALESCE(e.${name}, a.${name})) LIKE ? ESCAPE '\\'`, `%${escaped(text.toLowerCase())}%`);
  const rows = await history.query<Record<string, SqlValue>>(
    `SELECT a.seq AS seq, a.at AS at, COALESCE(e.actor, a.actor) AS actor, COALESCE(e.role, a.role) AS role,
       a.address AS address, a.tenant AS tenant, a.action AS action, COALESCE(e.target, a.target) AS target,
       e.outcome AS outcome, a.before_digest AS before_digest, e.after_digest AS after_digest, a.request_id AS request_id
     FROM audit a LEFT JOIN audit e ON e.act = a.number AND e.epoch = a.epoch AND e.phase = 'ended' AND e.seq > a.seq
     WHERE ${conditions.join(" AND ")} ORDER BY a.seq DESC LIMIT ${Math.max(1, Math.min(MAX_ROWS, Math.floor(limit)))}`,
    parameters,
  );
  const text = (value: SqlValue | undefined) => (value == null ? null : String(value));
  return rows.map((row) => ({
    ...{ seq: Number(row.seq), at: new Date(Number(row.at)), actor: String(row.actor), role: text(row.role) },
    ...{ address: text(row.address), tenant: String(row.tenant), action: String(row.action) },
    ...{ target: text(row.target), outcome: text(row.outcome), requestId: text(row.request_id) },
    ...{ beforeDigest: text(row.before_digest), afterDigest: text(row.after_digest) },
  }));
}

/** `LIKE` takes some characters for more than themselves. */
function escaped(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&");
}
