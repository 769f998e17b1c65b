import type { Tally } from "../producers/batch/tally.ts";

/** The `--report` file. Times in milliseconds; `durationMs` and `latencyMs` are of this run, the rest of the batch. */
export interface Report {
  total: number;
  succeeded: number;
  failed: number;
  retries: number;
  rateLimited: number;
  tokens: { prompt: number; completion: number; total: number };
  durationMs: number;
  latencyMs: { p50: number; p95: number; p99: number };
}

interface Faults {
  retries: number;
  rateLimited: number;
}

export function buildReport(
  { total, succeeded, failed }: { total: number; succeeded: number; failed: number },
  tally: Tally,
  { retries, rateLimited }: Faults,
  startedAt: number,
): Report {
  const { prompt, completion } = tally.tokens;
  return {
    total,
    succeeded,
    failed,
    retries,
    rateLimited,
    tokens: { prompt, completion, total: prompt + completion },
    durationMs: Date.now() - startedAt,
    latencyMs: tally.latency(),
  };
}

/** The lines a person reads at the end. */
export function summarize(report: Report, outputPath: string): string {
  const { total, succeeded, failed, retries, rateLimited, tokens, durationMs, latencyMs } = report;
  const seconds = durationMs / 1000;
  const lines = [
    `${succeeded} of ${total} rows succeeded, ${failed} failed, in ${seconds.toFixed(1)} s`,
    `tokens ${count(tokens.total)} (prompt ${count(tokens.prompt)}, completion ${count(tokens.completion)}) · retries ${retries} · 429s ${rateLimited}`,
  ];
  if (latencyMs.p50 > 0)
    lines.push(`provider latency p50 ${latencyMs.p50} ms, p95 ${latencyMs.p95} ms, p99 ${latencyMs.p99} ms`);
  lines.push(`results: ${outputPath}`);
  if (failed > 0) lines.push(`failures: ${errorsPath(outputPath)} (send them again with --retry-failed)`);
  return lines.join("\n");
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function errorsPath(outputPath: string): string {
  return outputPath.endsWith(".jsonl")
    ? outputPath.replace(/\.jsonl$/, ".errors.jsonl")
    : `${outputPath}.errors.jsonl`;
}
