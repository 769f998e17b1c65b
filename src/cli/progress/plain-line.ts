import type { LimitInForce } from "../../shared/budget.ts";
import { count } from "../../shared/counted.ts";
import type { BatchPicture, ModelPicture } from "./batch-picture.ts";
import { costText, etaText } from "./figures.ts";

const MAX_MODELS = 4;

/** Returns where a batch stands as one line, for logs. */
export function plainLine(picture: BatchPicture): string {
  const { total, missing, failed, isCounted, rowsPerSecond, retries, rateLimited, phase } = picture;
  const rows = `${count(total - missing)}/${count(total)} rows${isCounted ? "" : " so far"} done`;
  const kinds = picture.failureCounts.slice(0, 3).map(([code, rows]) => `${code} ${count(rows)}`);
  return [
    rows,
    `${count(failed)} failed${kinds.length > 0 ? ` (${kinds.join(", ")})` : ""}`,
    `${rowsPerSecond.toFixed(1)} rows/s`,
    etaText(picture),
    costText(picture),
    ...picture.models.slice(0, MAX_MODELS).flatMap(budgetText),
    `429s ${count(rateLimited)}`,
    `retries ${count(retries)}`,
    ...(["sending", "done"].includes(phase) ? [] : [phase]),
    ...picture.waitsFor,
    ...picture.notices,
  ]
    .filter((part) => part !== undefined)
    .join(" · ");
}

function budgetText({ key, used, limits }: ModelPicture): string[] {
  if (!used) return [];
  const { rpm, tpm, itpm, otpm } = limits;
  const isApart = !tpm && itpm;
  const counted = isApart ? used.tokens - used.outputTokens : used.tokens;
  const output = isApart ? [`${ofLimit(used.outputTokens, otpm)} out`] : [];
  const tokens = `TPM ${ofLimit(counted, tpm ?? itpm)}${isApart ? " in" : ""}`;
  return [`${key} RPM ${ofLimit(used.requests, rpm)}`, tokens, ...output];
}

function ofLimit(used: number, limit: LimitInForce | undefined): string {
  if (!limit) return `${count(used)} (no limit known)`;
  return `${count(used)} of ${count(limit.perMinute)}${limit.source === "learned" ? " learned" : ""}`;
}
