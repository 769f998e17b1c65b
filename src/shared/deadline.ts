import { InputError } from "./errors.ts";

const UNITS_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DAY_MS = 86_400_000;
const HINT =
  "write a span such as 6h or 90m, a time of day such as 08:00, or a date such as 2030-01-31T08:00:00Z";

/**
 * Returns the time that a date is or a text names, in epoch milliseconds: a span from now (`30s`, `90m`, `6h`, `2d`), the next such time of day
 * on this machine (`08:00`), or an ISO date.
 * @throws InputError for anything else, and for a time that has passed
 */
export function readDeadline(given: Date | string, now = Date.now()): number {
  const text = given instanceof Date ? dateText(given) : given;
  const span = /^(\d+(?:\.\d+)?)(s|m|h|d)$/.exec(text);
  const clock = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text);
  const at = span
    ? now + Number(span[1]) * (UNITS_MS[span[2] ?? ""] ?? 0)
    : clock
      ? nextTime(Number(clock[1]), Number(clock[2]), now)
      : /^\d{4}-\d\d-\d\dT/.test(text)
        ? Date.parse(text)
        : Number.NaN;
  if (Number.isNaN(at)) throw new InputError(`${text} is no time`, HINT, "invalid_deadline");
  if (at <= now)
    throw new InputError(
      `${text} has passed`,
      "name a later time, or none: then all is sent at once",
      "invalid_deadline",
    );
  return Math.round(at);
}

function dateText(date: Date): string {
  return Number.isNaN(date.getTime()) ? "the date" : date.toISOString();
}

function nextTime(hours: number, minutes: number, now: number): number {
  const date = new Date(now);
  date.setHours(hours, minutes, 0, 0);
  return date.getTime() > now ? date.getTime() : date.getTime() + DAY_MS;
}
