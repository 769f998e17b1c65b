import { InvalidArgumentError } from "commander";
import { printable } from "./output.ts";
import { padded, widthOf } from "./progress/text-layout.ts";

/** A commander parser for options that may be given several times. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}
export const CACHE_HELP = "an equal request's answer will do (default: where temperature is 0)";
export const NO_CACHE_HELP = "no answer from the cache, and none kept there";

/** A commander parser for whole numbers from `min` to `max`. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(
        `It must be a whole number from ${min}${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ""}.`,
      );
    }
    return value;
  };
}

/** A commander parser for numbers of at least `min`. */
export function number(min: number) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < min) {
      throw new InvalidArgumentError(`It must be a number of at least ${min}.`);
    }
    return value;
  };
}

const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Returns a time such as `30m`, `24h` or `90d` in milliseconds; undefined for anything else. */
export function spanMs(text: string): number | undefined {
  const [, count, unit = ""] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * (UNITS_MS[unit] ?? 0);
}

/** A commander parser for a time that is past: a span before now, or a date. Returns epoch milliseconds. */
export function pastTime(text: string): number {
  const span = spanMs(text);
  const at = span === undefined ? Date.parse(text) : Date.now() - span;
  if (Number.isFinite(at) && at <= Date.now()) return Math.max(0, at);
  throw new InvalidArgumentError("It must be a time before now, such as 30m, 24h, 90d or 2026-11-29.");
}

/** A commander parser for names with commas between them. */
export function names(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
}

/** Aligned columns for a terminal; the first row is the heading. */
export function table(cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map((cell) => printable(cell).replace(/\s/g, " ")));
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => padded(cell, widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `name=value` of repeated options. */
export function namedValues(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(pairs.map((pair) => [pair.split("=", 1)[0] ?? "", pair.replace(/^[^=]*=?/, "")]));
}
