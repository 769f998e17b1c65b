import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { BatchOutput } from "../../src/batch/batch-output.ts";
import { DiskIndex } from "../../src/batch/disk-index.ts";
import type { IndexRow } from "../../src/batch/index-row.ts";
import { InputFile } from "../../src/batch/input-file.ts";
import { outputLine } from "../../src/batch/output-line.ts";
import { type BatchRow, RowReader } from "../../src/batch/row-reader.ts";
import { type ScanOptions, scanInput } from "../../src/batch/scan-input.ts";
import type { InputError } from "../../src/shared/errors.ts";
import { parseModel } from "../../src/shared/model-name.ts";
import type { InlineResult } from "../../src/store/completed-record.ts";

export const resolveModel = (name?: string) =>
  parseModel(name ?? "demo", ["simulator", "openai"], "simulator");

/** A folder that goes with the test. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gluellm-batch-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function jsonl(rows: readonly unknown[]): string {
  return rows.map((row) => `${typeof row === "string" ? row : JSON.stringify(row)}\n`).join("");
}

/** An input file of its own folder; rows that are text are written as they are. */
export function writeInput(content: readonly unknown[] | Buffer, folder = testFolder()): string {
  const path = join(folder, "in.jsonl");
  writeFileSync(path, Buffer.isBuffer(content) ? content : jsonl(content));
  return path;
}

export type ScanChoice = Partial<Omit<ScanOptions, "input" | "index">>;

/** A scanned input with its output's files opened, as a run has them. */
export async function openRun(
  inputPath: string,
  outputPath: string,
  options: ScanChoice & { retryFailed?: boolean } = {},
) {
  const { retryFailed, ...scanOptions } = options;
  const index = DiskIndex.create(outputPath);
  onTestFinished(() => index.close());
  try {
    const scan = await scanFile(inputPath, index, scanOptions);
    const output = await BatchOutput.open({ outputPath, index, retryFailed });
    // A test may leave it as a killed run would: its files stay as they are, the handle is given back.
    onTestFinished(() => output.close());
    return { index, output, scan };
  } catch (error) {
    index.close();
    throw error;
  }
}

/** Scans a file into an index, and closes it. */
export async function scanFile(inputPath: string, index: DiskIndex, options: ScanChoice = {}) {
  const input = await InputFile.open({ inputPath, ...options });
  try {
    return await scanInput({ input, index, resolveModel, ...options });
  } finally {
    await input.close();
  }
}

/** Scans and reads every well-formed row again by its place. */
export async function readAll(inputPath: string, options: ScanChoice = {}) {
  const input = await InputFile.open({ inputPath, ...options });
  const index = DiskIndex.create(`${inputPath}.out`);
  const reader = new RowReader({ input, resolveModel, ...options });
  try {
    const scan = await scanInput({ input, index, resolveModel, ...options });
    const rows: BatchRow[] = [];
    for (const row of allMissing(index)) rows.push(await reader.readRow(row));
    return { scan, rows: rows.sort((a, b) => a.line - b.line) };
  } finally {
    await input.close();
    index.close();
  }
}

/** The error of a scan that must not succeed. */
export async function scanError(content: readonly unknown[] | Buffer, options: ScanChoice = {}) {
  const inputPath = writeInput(content);
  const error = await readAll(inputPath, options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error: error as InputError, inputPath };
}

export function allMissing(index: DiskIndex): IndexRow[] {
  return index.models().flatMap(({ key }) => index.nextMissing(key, 0, 1_000_000));
}

export function success(answer: string): InlineResult {
  const tokens = { prompt: 10, completion: 5, total: 15, cached: 0 };
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  const message = { role: "assistant" as const, content: answer };
  const choices = [{ message, finish_reason: "stop" as const }];
  const body = { id: "chatcmpl-1", object: "chat.completion", model: "demo", choices, usage };
  const response = { statusCode: 200, requestId: "req-1", body };
  return {
    v: 1,
    jobId: "j",
    status: "succeeded",
    model: "demo",
    response,
    tokens,
    costUsd: null,
    attempts: 1,
    latencyMs: 5,
    finishedAt: 1,
  };
}

export function failure(fields: { status?: number; providerRequestId?: string } = {}): InlineResult {
  const error = {
    code: "invalid_request",
    category: "provider" as const,
    message: "refused",
    hint: "change it",
    attempts: 2,
    ...fields,
  };
  const tokens = { prompt: 0, completion: 0, total: 0, cached: 0 };
  return {
    v: 1,
    jobId: "j",
    status: "failed",
    model: "demo",
    error,
    tokens,
    costUsd: null,
    attempts: 2,
    latencyMs: 0,
    finishedAt: 1,
  };
}

/** What the row sender appends for a row. */
export function resultOf(
  { id, line }: { id: string; line: number },
  record = success(`answer ${line}`),
  customId = `line-${line}`,
) {
  return { id, line: outputLine({ id, customId }, record), failed: record.status !== "succeeded" };
}
