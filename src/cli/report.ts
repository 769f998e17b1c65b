import { closeSync, openSync, readSync } from "node:fs";
import type { BatchReport } from "../batch/batch-run.ts";
import { count, counted } from "../shared/counted.ts";
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
  if (report.cacheHits > 0) lines.push(`${counted(report.cacheHits, "row")} answered from the cache`);
  const { rowsByLane, savedUsd = 0 } = report;
  if (rowsByLane) {
    const ways = [
      `${counted(rowsByLane.batch, "row")} in provider batches`,
      `${count(rowsByLane.flex)} in the tier flex`,
    ];
    lines.push(`${ways.join(", ")} saved ${usd(savedUsd)} against single calls`);
  }
  if (report.quote) lines.push(quoteLine(report.quote));
  if (latencyMs)
    lines.push(`provider latency p50 ${latencyMs.p50} ms, p95 ${latencyMs.p95} ms, p99 ${latencyMs.p99} ms`);
  lines.push(`results: ${report.files.output}`);
  if (failed > 0) lines.push(...failureLines(report.files.errors));
  return lines.join("\n");
}

/** How far the quote was off. */
function quoteLine({ costUsd, costOff, isWithin }: NonNullable<BatchReport["quote"]>): string {
  if (!costUsd) return "the quote knew no cost";
  const quoted = `quoted ${usd(costUsd.p50)} (${usd(costUsd.p10)} to ${usd(costUsd.p90)})`;
  if (costOff === null) return quoted;
  const percent = Math.abs(100 * costOff).toFixed(1);
  const off = `it cost ${percent} % ${costOff < 0 ? "less" : "more"}`;
  return `${quoted}: ${off}, ${isWithin ? "within" : "outside"} that range`;
}

function tokenParts({ prompt, completion, cached, estimated }: BatchReport["tokens"]): string {
  const fromCache = cached > 0 ? `, ${count(cached)} of them from a cache` : "";
  return `prompt ${count(prompt)}${fromCache}, completion ${count(completion)}${estimated ? ", some of it estimated" : ""}`;
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
