import { Cron } from "croner";
import { InputError } from "../shared/errors.ts";

/*
 * The times of a schedule. BullMQ's own reading of cron patterns loses ticks where a zone's clock goes back by half an
 * hour and where a step of hours meets a doubled one, so that every process, BullMQ's part included, asks here.
 */

/** When a schedule ticks: by a cron pattern, or at the multiples of a time. */
export interface Timing {
  cron?: string | undefined;
  everyMs?: number | undefined;
  timezone: string;
}

const MAX_EVERY_MS = 10 * 365 * 86_400_000;
/** Five fields, or six with seconds first, or a nickname. Croner alone would take dates and years, which end. */
const CRON = /^\s*(@[a-z]+|\S+(\s+\S+){4,5})\s*$/i;
const EVERY = "@every ";

/** @throws InputError (`invalid_schedule`) naming what is wrong */
export function checkTiming({ cron, everyMs, timezone }: Timing): void {
  if (cron !== undefined && everyMs !== undefined)
    throw wrong("it has both cron and everyMs", "give one of them");
  if (cron === undefined && everyMs === undefined)
    throw wrong("it has neither cron nor everyMs", "give one of them");
  if (everyMs !== undefined && !(Number.isSafeInteger(everyMs) && everyMs >= 1 && everyMs <= MAX_EVERY_MS)) {
    throw wrong(`everyMs must be a whole number of milliseconds from 1 to ${MAX_EVERY_MS}, not ${everyMs}`);
  }
  if (!isTimezone(timezone)) {
    throw wrong(`there is no timezone "${timezone}"`, 'use an IANA name such as "Europe/Berlin", or "UTC"');
  }
  if (cron === undefined) return;
  let next: Date | null;
  try {
    next = cronOf(cron, timezone).nextRun(new Date());
  } catch (error) {
    const [, reason = ""] = /^(?:CronPattern: )?(.*)/s.exec((error as Error).message) ?? [];
    throw wrong(`"${cron}" is no cron pattern: ${reason}`, "as in crontab: minute hour day month weekday");
  }
  if (!next) throw wrong(`the cron pattern "${cron}" never fires`, "there is no such day");
}

function wrong(what: string, hint?: string): InputError {
  return new InputError(`the schedule is wrong: ${what}`, hint, "invalid_schedule");
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function cronOf(pattern: string, timezone: string): Cron {
  if (!CRON.test(pattern)) throw new Error("it needs five fields, or six with the seconds first");
  return new Cron(pattern, { timezone });
}

/** Returns the first tick after a time, both in epoch milliseconds; undefined when there is none. */
export function nextTime({ cron, everyMs = 1, timezone }: Timing, after: number): number | undefined {
  if (cron === undefined) return (Math.floor(after / everyMs) + 1) * everyMs;
  return cronOf(cron, timezone).nextRun(new Date(after))?.getTime();
}

/** Returns the next `count` ticks after a time, in epoch milliseconds. */
export function nextTimes(timing: Timing, after: number, count: number): number[] {
  const times: number[] = [];
  for (let last: number | undefined = after; times.length < count; times.push(last)) {
    last = nextTime(timing, last);
    if (last === undefined) break;
  }
  return times;
}

/** Returns the latest ticks after `after` and at or before `until`, the earliest first; at most `limit` of them. */
export function latestTimes(timing: Timing, after: number, until: number, limit: number): number[] {
  const { cron, everyMs = 1, timezone } = timing;
  const clock = cron === undefined ? undefined : cronOf(cron, timezone);
  const before = (time: number) =>
    clock ? clock.previousRuns(1, new Date(time))[0]?.getTime() : (Math.ceil(time / everyMs) - 1) * everyMs;
  const times: number[] = [];
  for (let time = before(until + 1); times.length < limit; time = before(time)) {
    if (time === undefined || time <= after) break;
    times.unshift(time);
  }
  return times;
}

/** Returns what BullMQ keeps of the times; `repeatStrategy` reads it. */
export function patternOf({ cron, everyMs }: Timing): string {
  return cron ?? `${EVERY}${everyMs}`;
}

/** BullMQ's question for the tick after a time. */
export function repeatStrategy(
  after: number,
  { pattern = "", tz = "UTC" }: { pattern?: string; tz?: string },
): number | undefined {
  const everyMs = pattern.startsWith(EVERY) ? Number(pattern.slice(EVERY.length)) : undefined;
  return nextTime({ ...(everyMs === undefined ? { cron: pattern } : { everyMs }), timezone: tz }, after);
}
