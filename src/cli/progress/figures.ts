import type { LimitInForce } from "../../shared/budget.ts";
import { count } from "../../shared/counted.ts";
import { usd } from "../../shared/usd.ts";
import type { BatchPicture } from "./batch-picture.ts";

/** `1,579/1,800`; a limit that nobody configured is followed by its source. */
export function ofLimit(used: number, limit: LimitInForce | undefined): string {
  if (!limit) return count(used);
  return `${count(used)}/${count(limit.perMinute)}${limit.source === "learned" ? " learned" : ""}`;
}

/** When the batch will be done, or that it is. */
export function etaText({ missing, isCounted, etaSeconds }: BatchPicture): string {
  if (missing === 0 && isCounted) return "done";
  return etaSeconds === undefined ? "ETA …" : `ETA ${duration(etaSeconds)}`;
}

/** What is spent, and what the batch will have cost when the missing rows cost what the others did. */
export function costText({ costUsd, expectedUsd, succeeded, phase }: BatchPicture): string | undefined {
  if (costUsd === null || succeeded === 0) return undefined;
  if (phase === "done") return usd(costUsd);
  return expectedUsd === undefined
    ? `${usd(costUsd)} so far`
    : `${usd(costUsd)} of about ${usd(expectedUsd)}`;
}

/** `12 s`, `3 min 20 s`, `26 h 5 min`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** `512 B`, `1.5 MB`, `2.0 GB`: units of 1,024. */
export function bytesText(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let [size, unit] = [bytes, 0];
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${size >= 100 || unit === 0 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`;
}
