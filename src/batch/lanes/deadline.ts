import { InputError } from "../../shared/errors.ts";
import { LANES, type LaneOptions } from "./lane-plan.ts";

const UNITS_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DAY_MS = 86_400_000;
const HINT =
  "write a span such as 6h or 90m, a time of day such as 08:00, or a date such as 2030-01-31T08:00:00Z";

/** The name in a batch's metadata of the time by which it should be done. */
export const BY = "gluellm_by";

/**
 * Returns how a batch of the API may be bought, as its metadata say; undefined: online, at once.
 */
export function askedLanes(
  metadata: Readonly<Record<string, string>> | undefined,
  { createdAt, expiresAt }: { createdAt: number; expiresAt: number },
): LaneOptions | undefined {
  const by = metadata?.[BY];
  if (by === undefined) return undefined;
  return { byMs: Math.min(readDeadline(by, createdAt), expiresAt), lanes: LANES, onUnknown: "wait" };
}

/**
 * Returns the time that a text names, in epoch milliseconds: a span from now (`30s`, `90m`, `6h`, `2d`), the next such time of day
 * on this machine (`08:00`), or an ISO date.
 * @throws InputError for anything else, and for a time that has passed
 */
export function readDeadline(text: string, now = Date.now()): number {
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
  if (at <= now) throw new InputError(`${text} has passed`, HINT, "invalid_deadline");
  return Math.round(at);
}

function nextTime(hours: number, minutes: number, now: number): number {
  const date = new Date(now);
  date.setHours(hours, minutes, 0, 0);
  return date.getTime() > now ? date.getTime() : date.getTime() + DAY_MS;
}
