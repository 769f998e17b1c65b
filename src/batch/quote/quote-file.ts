import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { InputError } from "../../shared/errors.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import { outputFileError } from "../file-errors.ts";
import { refuseWhenInUse, removeIndexFile } from "../index-file.ts";
import { outputFiles } from "../output-paths.ts";
import type { BatchQuote, LaneQuote } from "./quote.ts";

/*
 * The quote of a batch lies beside its output (`OUT.jsonl.quote`). A quote that names no output keeps its results under a name of
 * the input and the model; the first run of that input takes them over.
 */

const VERSION = 1;

/** A quote with what it cannot be made of again: how long the sample's calls took. */
export interface KeptQuote {
  quote: BatchQuote;
  latenciesMs: number[];
}

/** How far a quote was off. */
export interface QuoteCheck {
  /** What was quoted for the way in which the rows were bought, in USD. */
  costUsd: LaneQuote["costUsd"];
  /** By what part of the quote's middle the batch cost more, negative: less; null: a cost is not known. */
  costOff: number | null;
  /** Whether the cost lay between p10 and p90. */
  isWithin: boolean | null;
}

/** Returns the output of a quote that names none. */
export function quoteOutputPath(inputPath: string, model: string): string {
  return `${inputPath}.quote-${encodeURIComponent(model)}`;
}

/** @throws ConfigurationError when the file cannot be written */
export function keepQuote(outputPath: string, kept: KeptQuote): void {
  const { quote: path } = outputFiles(outputPath);
  try {
    writeFileSync(path, `${JSON.stringify({ v: VERSION, ...kept })}\n`);
  } catch (error) {
    throw outputFileError(error, path);
  }
}

/** Returns the quote of an output; undefined when it has none that can be read. */
export function readQuote(outputPath: string): KeptQuote | undefined {
  const { quote: path } = outputFiles(outputPath);
  if (!existsSync(path)) return undefined;
  const kept = fieldsOf(parseJson(readFileSync(path, "utf8")));
  return kept.v === VERSION ? (kept as unknown as KeptQuote) : undefined;
}

/**
 * Returns a limit of cost by its text: a number of USD, or `quote:p10|p50|p90`, what the batch was quoted for its way to buy.
 * @throws InputError when there is no such quote, or it knows no price
 */
export function quotedLimit(
  text: string,
  { inputPath, model, outputPath }: { inputPath: string; model: string; outputPath: string },
  hasDeadline: boolean,
): number {
  const [, point] = /^quote:(p10|p50|p90)$/.exec(text) ?? [];
  if (point === undefined) return Number(text);
  adoptQuote(inputPath, model, outputPath);
  const kept = readQuote(outputPath);
  if (!kept) {
    const hint = "make one with `gluellm batch quote` of the same input and model";
    throw new InputError(`${outputPath} has no quote`, hint, "no_quote");
  }
  const limit = wayOf(kept.quote, hasDeadline).costUsd?.[point as "p10"] ?? 0;
  if (limit > 0) return limit;
  throw new InputError("the quote knows no cost", "set prices (GLUELLM_PRICES), and quote again", "no_quote");
}

/**
 * Takes over what a quote without an output has brought, so that it is not paid again. One that is older than the input is of
 * another input.
 * @throws InputError `output_in_use` while that quote is being made
 */
export function adoptQuote(inputPath: string, model: string, outputPath: string): void {
  const [from, to] = [outputFiles(quoteOutputPath(inputPath, model)), outputFiles(outputPath)];
  const changedAt = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (!existsSync(from.partial) || existsSync(to.partial) || existsSync(to.output)) return;
  if (changedAt(from.partial) < changedAt(inputPath)) return;
  refuseWhenInUse(from.index, from.output);
  try {
    if (existsSync(from.quote)) renameSync(from.quote, to.quote);
    renameSync(from.partial, to.partial);
  } catch (error) {
    throw outputFileError(error, to.partial);
  }
  removeIndexFile(from.index);
  rmSync(from.workerLog, { force: true });
}

/** Returns how far the quote of an output was off; undefined when it has none. */
export function checkQuote(
  outputPath: string,
  { costUsd }: { costUsd: number | null },
  hasDeadline: boolean,
): QuoteCheck | undefined {
  const kept = readQuote(outputPath);
  if (!kept) return undefined;
  const quoted = wayOf(kept.quote, hasDeadline).costUsd;
  if (!quoted || costUsd === null) return { costUsd: quoted, costOff: null, isWithin: null };
  const { p10, p50, p90 } = quoted;
  const costOff = p50 > 0 ? Number((costUsd / p50 - 1).toFixed(4)) : null;
  return { costUsd: quoted, costOff, isWithin: costUsd >= p10 && costUsd <= p90 };
}

/** Returns what a batch was quoted for in USD; undefined when its output has no quote, or that knows no price. */
export function quotedUsdOf(
  outputPath: string,
  hasDeadline: boolean,
): NonNullable<LaneQuote["costUsd"]> | undefined {
  const kept = readQuote(outputPath);
  return kept && (wayOf(kept.quote, hasDeadline).costUsd ?? undefined);
}

/** What was quoted for a run with a deadline, or without one. */
function wayOf({ by, lanes }: BatchQuote, hasDeadline: boolean): LaneQuote {
  return (hasDeadline && by) || lanes.online;
}
