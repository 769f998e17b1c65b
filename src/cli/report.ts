import { closeSync, openSync, readSync } from "node:fs";
import { outputFiles } from "../batch/output-paths.ts";
import type { Tally } from "../batch/tally.ts";
import { usd } from "../shared/usd.ts";
import { printable } from "./output.ts";

/** The `--report` file. Times in milliseconds; `durationMs` and `latencyMs` are of this run, the rest of the batch. */
export interface Report {
  total: number;
  succeeded: number;
  failed: number;
  retries: number;
  rateLimited: number;
  /** Succeeded rows whose answer was in the cache already: no call, no tokens, no cost. */
  cacheHits: number;
  /** `cached` prompt tokens were read from a cache; they are part of `prompt`. */
  tokens: { prompt: number; completion: number; total: number; cached: number };
  /** Of the succeeded rows; null when the cost of one of them is not known. */
  costUsd: number | null;
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
  const { prompt, completion, cached, cacheHits } = tally.use;
  return {
    total,
    succeeded,
    failed,
    retries,
    rateLimited,
    cacheHits,
    tokens: { prompt, completion, total: prompt + completion, cached },
    costUsd: tally.costUsd,
    durationMs: Date.now() - startedAt,
    latencyMs: tally.latency(),
  };
}

/** The lines a person reads at the end. */
export function summarize(report: Report, outputPath: string): string {
  const { total, succeeded, failed, retries, rateLimited, tokens, costUsd, durationMs, latencyMs } = report;
  const seconds = durationMs / 1000;
  const lines = [
    `${succeeded} of ${total} rows succeeded, ${failed} failed, in ${seconds.toFixed(1)} s`,
    `tokens ${count(tokens.total)} (${tokenParts(tokens)}) · cost ${costUsd === null ? "unknown" : usd(costUsd)} · retries ${retries} · 429s ${rateLimited}`,
  ];
  if (report.cacheHits > 0) lines.push(`${count(report.cacheHits)} rows answered from the cache`);
  if (latencyMs.p50 > 0)
    lines.push(`provider latency p50 ${latencyMs.p50} ms, p95 ${latencyMs.p95} ms, p99 ${latencyMs.p99} ms`);
  lines.push(`results: ${outputPath}`);
  if (failed > 0) lines.push(...failureLines(outputFiles(outputPath).errors));
  return lines.join("\n");
}

function tokenParts({ prompt, completion, cached }: Report["tokens"]): string {
  const fromCache = cached > 0 ? `, ${count(cached)} of them from a cache` : "";
  return `prompt ${count(prompt)}${fromCache}, completion ${count(completion)}`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Where the failed rows are, and the first of them as an example. */
function failureLines(errorsPath: string): string[] {
  const lines = [`failures: ${errorsPath} (send them again with --retry-failed)`];
  try {
    const [first = ""] = readHead(errorsPath).split("\n", 1);
    const { custom_id, error } = JSON.parse(first) as {
      custom_id: string;
      error: { code: string; message: string };
    };
    lines.push(printable(`for example ${custom_id}: ${error.code}: ${error.message}`));
  } catch {
    // Too long a line or no file: the path says enough.
  }
  return lines;
}

function readHead(path: string): string {
  const head = Buffer.alloc(64 * 1024);
  const file = openSync(path, "r");
  const bytes = readSync(file, head, 0, head.length, 0);
  closeSync(file);
  return head.toString("utf8", 0, bytes);
}
