/*
 * A day of one batch as a simulation of events: what the plan decides (src/batch/lanes/lane-plan.ts, the code that runs) meets provider
 * batches whose durations are drawn. Times are milliseconds since the day's batch began.
 */
import { buysBatch, switchAt } from "../../src/batch/lanes/lane-plan.ts";
import { CANCELLING_MS, durationOf, FINALIZING_MS, WINDOW_MS } from "../../src/simulator/batches/plan.ts";

/** A provider is asked so often, as by default; between it nothing is decided here. */
export const STEP_MS = 30_000;
/** A cancelled batch is asked for more often. */
const GROUP_ROWS = 5000;
const KEPT_DURATIONS = 50;
export const BATCH_PRICE = 0.5;

export interface Account {
  /** What its limit lets through online. */
  rowsPerMinute: number;
  reserveMs: number;
  /** How long its latest provider batches took; a negative one was cancelled after so long. */
  seen: number[];
}

/** What is given of a day, the same for each way to buy. */
export interface Day {
  rows: number;
  byMs: number;
  /** Of each provider batch that is bought, in turn: where it lies in the distribution, in [0, 1). */
  shares: () => number;
  /** When calls and the provider's batches answer nothing; `atReserve`: from when the rest has to go online. */
  outage: { fromMs: number | "atReserve"; forMs: number } | undefined;
}

/** `by`: provider batches and single calls; `flex`: the tier flex too. */
export type Way = "by" | "flex" | "online" | "hope";

export interface DayResult {
  /** In prices of a row online. */
  cost: number;
  endMs: number;
  lateRows: number;
  /** When the rest had to go online. */
  lateAtMs: number | undefined;
  batches: number;
}

/** How long a call in the tier flex takes here, and the share of them that find room. */
const FLEX_MS = 5 * 60_000;
const FLEX_ROOM = 0.7;
/** A call in the tier is given up when its row has to go online, but not before this. */
const LEAST_CALL_MS = 2 * 60_000;

interface Group {
  rows: number;
  createdAt: number;
  doneAt: number;
  cancelledAt: number | undefined;
}

/** Returns what a day costs, and when its rows are done. */
export function liveDay(way: Way, { rows, byMs, shares, outage }: Day, account: Account): DayResult {
  const result: DayResult = { cost: 0, endMs: 0, lateRows: 0, lateAtMs: undefined, batches: 0 };
  let groups: Group[] = [];
  /** Calls in the tier flex. */
  let slow: { rows: number; doneAt: number; endsAt: number }[] = [];
  let free = rows;
  const hasFlex = way === "flex";
  const rowsPerSecond = account.rowsPerMinute / 60;
  for (let now = 0; ; now += STEP_MS) {
    const missing = free + [...groups, ...slow].reduce((sum, group) => sum + group.rows, 0);
    const pace = { rows: missing, rowsPerSecond, leastMs: account.reserveMs, spanMs: byMs };
    const lateAt = switchAt(byMs, pace);
    const isPlanned = way === "by" || hasFlex;
    const isOnline = isPlanned && now >= lateAt;
    // As LaneOutlook has it: the tier gets as long as what comes after it.
    const batchEndsAt = hasFlex ? lateAt - (byMs - lateAt) : lateAt;
    const isLate = isPlanned && now >= batchEndsAt;
    if (isOnline) result.lateAtMs ??= now;
    const from =
      outage?.fromMs === "atReserve" ? (result.lateAtMs ?? Number.POSITIVE_INFINITY) : outage?.fromMs;
    const isOut = outage !== undefined && from !== undefined && now >= from && now < from + outage.forMs;
    if (!isOut) {
      for (const group of groups) {
        if (isLate) group.cancelledAt ??= now;
        const { at, doneRows, durationMs } = endOf(group);
        if (now < at) continue;
        result.cost += doneRows * BATCH_PRICE;
        if (now > byMs) result.lateRows += doneRows;
        free += group.rows - doneRows;
        account.seen.push(durationMs);
        account.seen.splice(0, account.seen.length - KEPT_DURATIONS);
        group.rows = 0;
      }
      groups = groups.filter((group) => group.rows > 0);
      for (const one of slow.filter(({ endsAt }) => now >= endsAt)) {
        const done = one.endsAt === one.doneAt ? one.rows : 0;
        result.cost += done * BATCH_PRICE;
        if (now > byMs) result.lateRows += done;
        free += one.rows - done;
      }
      slow = slow.filter(({ endsAt }) => now < endsAt);
      const buys =
        way === "hope" || (isPlanned && buysBatch(now, { endsAtMs: batchEndsAt, hasFlex }, account.seen));
      if (buys)
        for (; free > 0; free -= Math.min(free, GROUP_ROWS)) {
          const doneAt = now + durationOf(shares());
          groups.push({ rows: Math.min(free, GROUP_ROWS), createdAt: now, doneAt, cancelledAt: undefined });
          result.batches += 1;
        }
      const most = Math.ceil((rowsPerSecond * STEP_MS) / 1000);
      const isSlow = hasFlex && !isOnline;
      const sent = Math.min(free, isSlow ? Math.ceil(most * FLEX_ROOM) : most);
      free -= sent;
      if (isSlow && sent > 0) {
        const doneAt = now + FLEX_MS;
        slow.push({ rows: sent, doneAt, endsAt: Math.min(doneAt, Math.max(lateAt, now + LEAST_CALL_MS)) });
      } else {
        result.cost += sent;
        if (now + STEP_MS > byMs) result.lateRows += sent;
      }
    }
    if (free === 0 && groups.length + slow.length === 0) return { ...result, endMs: now + STEP_MS };
  }
}

/** When a batch has ended, as the simulated provider ends it; what it brought, and how long it took. */
function endOf({ rows, createdAt, doneAt, cancelledAt }: Group) {
  const cancelled = cancelledAt === undefined ? Number.POSITIVE_INFINITY : cancelledAt + CANCELLING_MS;
  const end = Math.min(doneAt, cancelled, createdAt + WINDOW_MS);
  const worked = Math.min(end, cancelledAt ?? Number.POSITIVE_INFINITY) - createdAt;
  const doneRows = end === doneAt ? rows : Math.floor((rows * worked) / (doneAt - createdAt));
  return {
    at: end + FINALIZING_MS,
    doneRows,
    durationMs: end === doneAt ? end - createdAt : createdAt - end,
  };
}
