import type { Secret } from "../shared/secret.ts";
import { type AuditState, readAuditState, waitingNumbers } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import { type AuditRow, type ChainHead, EXPIRE, hashOf } from "./audit-chain.ts";
import type { HistoryDatabase } from "./database.ts";

/** What is wrong with the audit. */
interface AuditFault {
  kind: "gap" | "changed" | "lowered" | "restarted";
  /** The place in the chain at which it shows. */
  seq: number;
  /** A sentence. */
  problem: string;
}

export interface AuditReport {
  rows: number;
  /** The first and the last place that there are; 0: none. */
  first: number;
  head: ChainHead;
  /** Entries that are still in Redis. */
  waiting: number;
  faults: AuditFault[];
}

const PAGE = 1000;
/** What is moved to SQL while it is looked for is looked for again. */
const TRIES = 3;

/**
 * Checks the audit: every HMAC, that no place of the chain and no number of Redis is missing, and that the end is not lower than Redis,
 * or the caller, has seen it. Reads it page by page.
 * @param keys the keys of `GLUELLM_AUDIT_KEY`, of which one made each HMAC
 * @param expected a head that was noted elsewhere
 */
export async function verifyAudit(
  store: Store,
  history: HistoryDatabase,
  { keys, expected }: { keys: readonly Secret[]; expected?: ChainHead | undefined },
): Promise<AuditReport> {
  // Before SQL: what is there now is there later, or has moved to SQL.
  const state = await readAuditState(store);
  const walk = new Walk(keys, [expected, { seq: state.head, hash: state.hash ?? "" }]);
  await walk.on(history);
  for (let tries = 0; (await missingOf(store, state, walk)).length > 0; tries++) {
    if (tries === TRIES) {
      walk.fault("gap", `${said(await missingOf(store, state, walk))} neither here nor in Redis`);
      break;
    }
    await walk.on(history);
  }
  return { ...walk.end(), waiting: state.waiting, faults: walk.faults };
}

/** Numbers that Redis has given and that are nowhere. */
async function missingOf(store: Store, { number, epoch }: AuditState, walk: Walk): Promise<number[]> {
  const last = epoch === walk.last.epoch ? Number(walk.last.number) : 0;
  if (number <= last) return [];
  const waiting = await waitingNumbers(store);
  return Array.from({ length: number - last }, (_, n) => last + 1 + n).filter((one) => !waiting.has(one));
}

/** One walk along the chain. */
class Walk {
  readonly faults: AuditFault[] = [];
  readonly #keys: readonly Secret[];
  readonly #expected: readonly ChainHead[];
  #first = 0;
  #rows = 0;
  #expiredTo = 0;
  last: AuditRow = { seq: 0, hash: "", number: 0 };

  constructor(keys: readonly Secret[], expected: readonly (ChainHead | undefined)[]) {
    this.#keys = keys;
    this.#expected = expected.filter((head) => head !== undefined && head.seq > 0) as ChainHead[];
  }

  fault(kind: AuditFault["kind"], problem: string, seq = Number(this.last.seq)): void {
    this.faults.push({ kind, seq, problem });
  }

  /** Goes on from where it is to the end. */
  async on(history: HistoryDatabase): Promise<void> {
    for (;;) {
      const rows = await history.query(`SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT ${PAGE}`, [
        Number(this.last.seq),
      ]);
      for (const row of rows) this.#take(row as AuditRow);
      if (rows.length < PAGE) return;
    }
  }

  #take(row: AuditRow): void {
    const { last } = this;
    const seq = Number(row.seq);
    const isFirst = this.#rows === 0;
    if (isFirst) this.#first = seq;
    else if (seq !== Number(last.seq) + 1)
      this.fault("gap", `${said(range(Number(last.seq) + 1, seq - 1))} missing`, seq);
    else if (row.prev !== last.hash) this.fault("changed", "what it says of the entry before is not so", seq);
    if (!this.#keys.some((key) => hashOf(key, row) === row.hash))
      this.fault("changed", "it is not as it was written, or was written with another key", seq);
    for (const head of this.#expected)
      if (head.seq === seq && head.hash !== row.hash)
        this.fault("changed", "it is another one than was noted", seq);
    if (!isFirst) this.#compareNumbers(row, seq);
    if (row.action === EXPIRE && row.phase === "ended")
      this.#expiredTo = Math.max(this.#expiredTo, Number(row.target));
    this.#rows += 1;
    this.last = row;
  }

  #compareNumbers({ epoch, number }: AuditRow, seq: number): void {
    const isSame = epoch === this.last.epoch;
    const due = isSame ? Number(this.last.number) + 1 : 1;
    if (!isSame)
      this.fault("restarted", "Redis was emptied before it: entries that waited there are lost", seq);
    if (Number(number) > due)
      this.fault("gap", `${said(range(due, Number(number) - 1))} lost before they came here`, seq);
    if (Number(number) < due)
      this.fault("restarted", `number ${number} comes again: Redis was set back to an earlier state`, seq);
  }

  end(): Pick<AuditReport, "rows" | "first" | "head"> {
    const head = { seq: Number(this.last.seq), hash: String(this.last.hash) };
    if (this.#first > this.#expiredTo + 1)
      this.fault("gap", `${said(range(this.#expiredTo + 1, this.#first - 1))} missing`, this.#first);
    for (const { seq } of this.#expected)
      if (seq > head.seq)
        this.fault("lowered", `the chain ends at ${head.seq}, and has reached ${seq} before`);
    return { rows: this.#rows, first: this.#first, head };
  }
}

function range(from: number, to: number): number[] {
  return to > from ? [from, to] : [from];
}

function said(numbers: readonly number[]): string {
  const [first, last] = [numbers[0], numbers.at(-1)];
  return first === last ? `entry ${first} is` : `entries ${first} to ${last} are`;
}
