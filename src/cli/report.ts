import { closeSync, openSync, readSync } from "node:fs";
import type { BatchReport } from "../batch/batch-run.ts";
import { usd } from "../shared/usd.ts";
import { printable } from "./output.ts";

/** The lines a person reads at the end. */
export function summarize(report: BatchReport): string {
  const { total, succeeded, failed, retries, rateLimited, tokens, costUsd, durationMs, latencyMs } = report;
  const seconds = durationMs / 1000;
  const lines = [
    `${succeeded} of ${total} rows succeeded, ${failed} failed, in ${seconds.toFixed(1)} s`,
    `tokens ${count(tokens.total)} (${tokenParts(tokens)}) · cost ${costUsd === null ? "unknown" : usd(costUsd)} · retries ${retries} · 429s ${rateLimited}`,
  ];
  if (report.cacheHits > 0) lines.push(`${count(report.cacheHits)} rows answered from the cache`);
  if (report.savedUsd !== undefined)
    lines.push(`provider batches saved ${usd(report.savedUsd)} against single calls`);
  if (latencyMs.p50 > 0)
    lines.push(`provider latency p50 ${latencyMs.p50} ms, p95 ${latencyMs.p95} ms, p99 ${latencyMs.p99} ms`);
  lines.push(`results: ${report.files.output}`);
  if (failed > 0) lines.push(...failureLines(report.files.errors));
  return lines.join("\n");
}

function tokenParts({ prompt, completion, cached, estimated }: BatchReport["tokens"]): string {
  const fromCache = cached > 0 ? `, ${count(cached)} of them from a cache` : "";
  return `prompt ${count(prompt)}${fromCache}, completion ${count(completion)}${estimated ? ", some of it estimated" : ""}`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** `1 job`, `1,200 jobs`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Where the failed rows are, and the first of them as an example. */
function failureLines(errorsPath: string): string[] {
  const lines = [
    `failures: ${errorsPath} (send them again with --retry-failed, malformed ones once corrected)`,
  ];
  try {
    const [first = ""] = readHead(errorsPath).split("\n", 1);
    const { custom_id, error } = JSON.parse(first) as {
      custom_id: string;
      error: { code: string; message: string; provider_message?: string };
    };
    lines.push(printable(`for example ${custom_id}: ${error.code}: ${error.message}`));
    if (error.provider_message) lines.push(printable(`  the provider said: ${error.provider_message}`));
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
