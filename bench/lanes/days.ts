import { randomOf } from "../../src/batch/quote/draws.ts";
import { type Account, type Day, type DayResult, liveDay, type Way } from "./day.ts";

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;

/** What all days of a table share. */
export interface Season {
  days: number;
  byMs: number;
  /** How long nothing answers on the days that have an outage. */
  outageMs: number;
}

/** Of 100 days, those on which nothing answers from the moment on when the rest has to go online. */
const OUTAGE_SHARE = 0.05;
/** Rows of a day: evenly on a logarithmic scale. */
const [LEAST_ROWS, MOST_ROWS] = [200, 20_000];
const ROWS_PER_MINUTE = 1000;
/** The default of GLUELLM_LANE_RESERVE_MS. */
export const RESERVE_MS = 15 * MINUTE_MS;

export interface SeasonResult {
  /** In prices of a row online, and of all-online. */
  cost: Record<Way, number>;
  /** Share of the days on which all rows were done in time. */
  inTime: Record<Way, number>;
  /** Days that the plan, with the tier flex or without it, made dearer than all-online, or in which it brought more rows late. */
  worseDays: number;
}

/** Lives the same days in each way. */
export function liveSeason({ days, byMs, outageMs }: Season): SeasonResult {
  const random = randomOf(1);
  const results: Record<Way, DayResult[]> = { by: [], flex: [], online: [], hope: [] };
  const account: Account = { rowsPerMinute: ROWS_PER_MINUTE, reserveMs: RESERVE_MS, seen: [] };
  const ofFlex: Account = { ...account, seen: [] };
  for (let at = 0; at < days; at++) {
    const rows = Math.round(LEAST_ROWS * (MOST_ROWS / LEAST_ROWS) ** random());
    const seed = random() * 2 ** 32;
    const hasOutage = random() < OUTAGE_SHARE;
    const day = (fromMs: number | "atReserve"): Day => ({
      rows,
      byMs,
      shares: randomOf(seed),
      outage: hasOutage ? { fromMs, forMs: outageMs } : undefined,
    });
    const by = liveDay("by", day("atReserve"), account);
    const alone = () => ({ ...account, seen: [] });
    const fromMs = by.lateAtMs ?? Number.POSITIVE_INFINITY;
    results.by.push(by);
    results.flex.push(liveDay("flex", day("atReserve"), ofFlex));
    results.online.push(liveDay("online", day(fromMs), alone()));
    results.hope.push(liveDay("hope", day(fromMs), alone()));
  }
  const ways = Object.keys(results) as Way[];
  const costOf = (way: Way) => results[way].reduce((sum, { cost }) => sum + cost, 0);
  const inTimeOf = (way: Way) => results[way].filter(({ lateRows }) => lateRows === 0).length / days;
  const recordOf = (figureOf: (way: Way) => number) =>
    Object.fromEntries(ways.map((way) => [way, figureOf(way)])) as Record<Way, number>;
  return {
    cost: recordOf((way) => costOf(way) / costOf("online")),
    inTime: recordOf(inTimeOf),
    worseDays: results.online.filter((online, at) =>
      [results.by[at], results.flex[at]].some(
        (day) => day && (day.cost > online.cost + 1e-6 || day.lateRows > online.lateRows),
      ),
    ).length,
  };
}
