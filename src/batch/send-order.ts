import type { IndexRow } from "./index-row.ts";
import { beginningKeys } from "./prompt-beginnings.ts";

/** So long after its call began, a provider is taken to have read and kept a prompt's beginning. */
const FIRST_MOMENT_MS = 3000;
/** Providers keep a beginning that nobody uses for about 5 minutes. */
const WARM_MS = 4 * 60_000;
const MAX_WARM = 10_000;
/** So many of a group's rows count as sent with its leader: they follow soon. */
const FOLLOWERS = 10;

/** Rows that begin alike. */
interface Group {
  /** All beginnings that they share, the shortest first; none: rows that are like no other. */
  keys: readonly string[];
  rows: IndexRow[];
}

/** The first row with a beginning that its provider is not known to have. */
interface Leader {
  id: string;
  /** When it was first seen that its call had begun. */
  begunAt: number | undefined;
}

/**
 * The order in which rows that were read ahead go out: those that begin alike together, one ahead of the others, so that the
 * provider's prompt cache has what the others begin with.
 */
export class SendOrder {
  #rows: IndexRow[] = [];
  #groups: Group[] = [];
  #isGrouped = true;
  readonly #leaders = new Map<string, Leader>();
  /** Beginnings that the provider has, and when they were used last; the oldest first. */
  readonly #warm = new Map<string, number>();

  /** How many rows wait in it. */
  get size(): number {
    return this.#rows.length + this.#groups.reduce((sum, { rows }) => sum + rows.length, 0);
  }

  add(rows: readonly IndexRow[]): void {
    if (rows.length === 0) return;
    this.#rows.push(...rows);
    this.#isGrouped = false;
  }

  /** Takes rows back that could not be sent. */
  putBack(rows: readonly IndexRow[]): void {
    const ids = new Set(rows.map(({ id }) => id));
    for (const [key, { id }] of this.#leaders) if (ids.has(id)) this.#leaders.delete(key);
    this.add(rows);
  }

  /** Forgets the rows, which are read anew; what the provider has stays known. */
  clear(): void {
    this.#rows = [];
    this.#groups = [];
    this.#isGrouped = true;
  }

  /**
   * Looks which leaders have been answered, or have had their first moment.
   * @param begun returns which of these rows' calls have begun
   */
  async settle(
    isInFlight: (id: string) => boolean,
    begun: (ids: readonly string[]) => Promise<ReadonlySet<string>>,
  ): Promise<void> {
    const waiting = [...this.#leaders].filter(([, { id }]) => isInFlight(id));
    const ids = new Set(waiting.map(([, { id }]) => id));
    const started = ids.size > 0 ? await begun([...ids]) : ids;
    const now = performance.now();
    for (const [key, leader] of this.#leaders) {
      if (started.has(leader.id)) leader.begunAt ??= now;
      const hasBegun = leader.begunAt !== undefined && now - leader.begunAt >= FIRST_MOMENT_MS;
      if (ids.has(leader.id) && !hasBegun) continue;
      this.#leaders.delete(key);
      this.#use(key, now);
    }
  }

  /**
   * Takes the next rows, at most `room`; of these at most `fresh` whose beginning the provider does not have, where a leader
   * counts with its followers.
   * @param isFree whether a row is still to be sent; one that is not is forgotten
   */
  next(room: number, fresh: number, isFree: (row: IndexRow) => boolean): IndexRow[] {
    if (!this.#isGrouped) this.#group();
    const now = performance.now();
    const taken: IndexRow[] = [];
    const isLed = ({ keys }: Group) => keys.some((key) => this.#leaders.has(key));
    let left = fresh - this.#groups.reduce((sum, group) => sum + (isLed(group) ? weightOf(group) : 0), 0);
    for (const group of this.#groups) {
      if (taken.length >= room) break;
      if (isLed(group)) continue;
      const cold = group.keys.filter((key) => now - (this.#warm.get(key) ?? -WARM_MS) >= WARM_MS);
      const isWarm = cold.length === 0 && group.keys.length > 0;
      const most = isWarm ? room : Math.min(Math.max(0, left), cold.length > 0 ? 1 : room);
      const weight = weightOf(group);
      const rows = takeFree(group, Math.min(most, room - taken.length), isFree);
      const [first] = rows;
      if (!first) continue;
      taken.push(...rows);
      if (!isWarm) left -= cold.length > 0 ? weight : rows.length;
      for (const key of group.keys) if (!cold.includes(key)) this.#use(key, now);
      for (const key of cold) this.#leaders.set(key, { id: first.id, begunAt: undefined });
    }
    this.#groups = this.#groups.filter(({ rows }) => rows.length > 0);
    return taken;
  }

  /** Puts each row to those with which it shares most. */
  #group(): void {
    const rows = [...this.#groups.flatMap((group) => group.rows), ...this.#rows];
    rows.sort((a, b) => a.line - b.line);
    const keysOf = rows.map(({ beginnings }) => (beginnings ? beginningKeys(beginnings) : []));
    const counts = new Map<string, number>();
    for (const key of keysOf.flat()) counts.set(key, (counts.get(key) ?? 0) + 1);
    const groups = new Map<string | undefined, Group>();
    const alone: Group = { keys: [], rows: [] };
    for (const [at, row] of rows.entries()) {
      const keys = keysOf[at] ?? [];
      const shared = keys.findLastIndex((key) => (counts.get(key) ?? 0) > 1 || this.#isKnown(key));
      const last = keys[shared];
      const group =
        last === undefined ? alone : (groups.get(last) ?? { keys: keys.slice(0, shared + 1), rows: [] });
      if (last !== undefined) groups.set(last, group);
      group.rows.push(row);
    }
    this.#rows = [];
    // Leaders first: their answers come while rows that need none are asked.
    this.#groups = [...groups.values(), alone];
    this.#isGrouped = true;
  }

  #isKnown(key: string): boolean {
    return this.#leaders.has(key) || this.#warm.has(key);
  }

  #use(key: string, now: number): void {
    this.#warm.delete(key);
    this.#warm.set(key, now);
    for (const oldest of this.#warm.keys()) {
      if (this.#warm.size <= MAX_WARM) break;
      this.#warm.delete(oldest);
    }
  }
}

function takeFree({ rows }: Group, most: number, isFree: (row: IndexRow) => boolean): IndexRow[] {
  const free: IndexRow[] = [];
  let at = 0;
  for (; at < rows.length && free.length < most; at += 1) {
    const row = rows[at];
    if (row && isFree(row)) free.push(row);
  }
  rows.splice(0, at);
  return free;
}

function weightOf({ rows }: Group): number {
  return Math.min(rows.length, FOLLOWERS);
}
