import type { SqlValue } from "./tables.ts";

/** Returns micro-USD as USD. */
export function usdOf(microUsd: SqlValue | undefined): number | null {
  return microUsd == null ? null : Number(microUsd) / 1_000_000;
}

export function numberOrNull(value: SqlValue | undefined): number | null {
  return value == null ? null : Number(value);
}

export function textOrNull(value: SqlValue | undefined): string | null {
  return value == null ? null : String(value);
}

export function dateOrNull(value: SqlValue | undefined): Date | null {
  return value == null ? null : new Date(Number(value));
}
