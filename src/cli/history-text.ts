import type { PastBatch, PastJob, SlowItem } from "../history/lists.ts";
import type { PastRun } from "../history/past-run.ts";
import type {
  CacheUse,
  Failure,
  Group,
  Latency,
  PastRunSums,
  Percentiles,
  Spend,
} from "../history/reports.ts";
import { usd } from "../shared/usd.ts";
import { table } from "./options.ts";

/* The history's answers as tables of a terminal. */

const count = (value: number) => value.toLocaleString("en-US");
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function money(amount: number, unpriced = 0): string {
  return `${usd(amount)}${unpriced > 0 ? ` + ${unpriced} unpriced` : ""}`;
}

/** Milliseconds as people read them. */
function ms(value: number | null): string {
  if (value === null) return "–";
  return value < 10_000 ? `${value} ms` : `${(value / 1000).toFixed(1)} s`;
}

function spread({ p50, p95, p99 }: Percentiles): string {
  return `${ms(p50)} / ${ms(p95)} / ${ms(p99)}`;
}

/** A table whose first columns are what its rows are grouped by. */
function grouped<R extends { group: Group }>(
  rows: readonly R[],
  columns: Record<string, (row: R) => string>,
): string {
  const names = Object.keys(rows[0]?.group ?? {});
  return table([
    [...names, ...Object.keys(columns)].map((name) => name.toUpperCase()),
    ...rows.map((row) => [
      ...names.map((name) => row.group[name] || "–"),
      ...Object.values(columns).map((cell) => cell(row)),
    ]),
  ]);
}

export function showSpend(rows: readonly Spend[]): string {
  return grouped(rows, {
    calls: ({ calls }) => count(calls),
    "prompt tokens": ({ promptTokens }) => count(promptTokens),
    cached: ({ cachedTokens }) => count(cachedTokens),
    "completion tokens": ({ completionTokens }) => count(completionTokens),
    cost: ({ costUsd, unpriced }) => money(costUsd, unpriced),
  });
}

export function showLatency(rows: readonly Latency[]): string {
  return grouped(rows, {
    calls: ({ calls }) => count(calls),
    "call p50 / p95 / p99": ({ latencyMs }) => spread(latencyMs),
    "first token": ({ firstTokenMs }) => spread(firstTokenMs),
    "in the queue": ({ queueWaitMs }) => spread(queueWaitMs),
    "for the budget": ({ budgetWaitMs }) => spread(budgetWaitMs),
  });
}

export function showFailures(rows: readonly Failure[]): string {
  return grouped(rows, {
    count: (row) => count(row.count),
    last: ({ lastAt }) => lastAt.toISOString(),
    example: ({ example }) => `${example.source} ${example.id}`,
    message: ({ example }) => example.message.slice(0, 100),
  });
}

export function showCache(rows: readonly CacheUse[]): string {
  return grouped(rows, {
    answers: ({ answers }) => count(answers),
    "from the cache": ({ fromCache, answers }) => `${count(fromCache)} (${percent(fromCache / answers)})`,
    "of prompts by the provider": ({ promptShare }) => percent(promptShare),
  });
}

export function showRuns(rows: readonly PastRunSums[]): string {
  return grouped(rows, {
    runs: (row) => count(row.runs),
    succeeded: ({ succeeded }) => count(succeeded),
    failed: ({ failed }) => count(failed),
    cancelled: ({ cancelled }) => count(cancelled),
    "p50 / p95 / p99": ({ durationMs }) => spread(durationMs),
    cost: ({ costUsd, unpriced }) => money(costUsd, unpriced),
  });
}

export function showSlowest(rows: readonly SlowItem[]): string {
  return table([
    ["TOOK", "OF", "ID", "ENDED", "ERROR"],
    ...rows.map(({ durationMs, subject, id, endedAt, errorCode }) => [
      ...[ms(durationMs), subject, id, endedAt.toISOString(), errorCode ?? ""],
    ]),
  ]);
}

export function showBatches(rows: readonly PastBatch[]): string {
  return table([
    ["BATCH", "STATE", "CREATED", "ROWS", "FAILED", "COST", "INPUT"],
    ...rows.map(({ id, state, createdAt, total, failed, costUsd, unpriced, limitUsd, input }) => [
      ...[id, state, createdAt.toISOString(), count(total), count(failed)],
      `${money(costUsd, unpriced)}${limitUsd === null ? "" : ` of ${usd(limitUsd)}`}`,
      input,
    ]),
  ]);
}

export function showJobs(rows: readonly PastJob[]): string {
  return table([
    ["JOB", "STATE", "MODEL", "ENDED", "TOOK", "COST", "ASKED"],
    ...rows.map(({ id, state, errorCode, model, endedAt, calls, latencyMs, costUsd, prompt }) => [
      ...[id, errorCode ? `${state}: ${errorCode}` : state, model, endedAt.toISOString()],
      // Only answers have a time.
      ms(calls > 0 ? latencyMs : null),
      ...[costUsd === null ? "–" : usd(costUsd), (prompt ?? "").slice(0, 60)],
    ]),
  ]);
}

export function showRun({
  id,
  workflow,
  version,
  state,
  startedAt,
  endedAt,
  costUsd,
  errorMessage,
  steps,
}: PastRun): string {
  const took = endedAt ? ms(endedAt.getTime() - startedAt.getTime()) : "";
  const head = `${workflow}@${version} ${id}: ${state} after ${took}, ${usd(costUsd)}${errorMessage ? `\n${errorMessage}` : ""}`;
  const rows = steps.map((step) => [
    ...[step.step, `${step.kind}${step.subject ? ` ${step.subject}` : ""}`, step.errorCode ?? step.state],
    ms(step.startedAt && step.endedAt ? step.endedAt.getTime() - step.startedAt.getTime() : null),
    step.isReused ? "reused" : step.costUsd === null ? "–" : usd(step.costUsd),
  ]);
  return `${head}\n\n${table([["STEP", "WHAT", "STATE", "TOOK", "COST"], ...rows])}`;
}
