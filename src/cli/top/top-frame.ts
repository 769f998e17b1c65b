import { count, counted } from "../../shared/counted.ts";
import { usd } from "../../shared/usd.ts";
import { bytesText, duration, ofLimit } from "../progress/figures.ts";
import {
  bothEnds,
  type Column,
  firstThatFits,
  fitted,
  flowed,
  oneLine,
  type Paint,
  type Piece,
  tableLines,
} from "../progress/text-layout.ts";
import type { FleetPicture, QueuePicture } from "./fleet-picture.ts";

/** How a picture is drawn. */
export interface TopOptions {
  /** No line is wider. */
  columns: number;
  /** Most lines; undefined: as many as there are. */
  rows: number | undefined;
  paint: Paint;
  /** The number of the chosen queue; undefined: none is. */
  chosen: number | undefined;
  /** Ended jobs per second of each worker by its id, while somebody watches. */
  rates: ReadonlyMap<string, number>;
  /** What is told above all else, such as that Redis is away. */
  notice: string | undefined;
  /** The last line. */
  foot: string | undefined;
}

/** How many rows of each kind are shown: the first choice that fits. */
const CHOICES = [
  { queues: 30, workers: 20, errors: 8, gap: 1 },
  { queues: 16, workers: 10, errors: 6, gap: 1 },
  { queues: 10, workers: 6, errors: 4, gap: 1 },
  { queues: 8, workers: 4, errors: 3, gap: 0 },
  { queues: 5, workers: 2, errors: 2, gap: 0 },
  { queues: 3, workers: 1, errors: 1, gap: 0 },
  { queues: 1, workers: 0, errors: 0, gap: 0 },
] as const;
type Choice = Record<keyof (typeof CHOICES)[number], number>;

const NEAR_LIMIT = 0.9;
/** What delayed jobs of any queue that is at work wait for. */
const PASSING = "its next attempt";
const LAG_MS = 100;
const CLOCK_MS = 5000;

/** Returns a fleet as lines for a terminal. */
export function topFrame(picture: FleetPicture, options: TopOptions): string[] {
  return firstThatFits(CHOICES, options.rows, (choice) => lines(picture, choice, options));
}

function lines(picture: FleetPicture, choice: Choice, options: TopOptions): string[] {
  const { columns, paint, notice, foot } = options;
  const sections = [
    [
      head(picture, options),
      ...(notice ? [paint(fitted(notice, columns, { from: "end" }), "red")] : []),
      ...flowed(figures(picture), columns, paint),
    ],
    queues(picture.queues, choice.queues, options),
    workers(picture, choice.workers, options),
    errors(picture, choice.errors, options),
    foot ? [paint(fitted(foot, columns, { from: "end" }), "dim")] : [],
  ].filter(({ length }) => length > 0);
  const gap = Array<string>(choice.gap).fill("");
  return sections.flatMap((section, i) => (i === 0 ? section : [...gap, ...section]));
}

function head({ namespace, at, workers }: FleetPicture, { columns, paint }: TopOptions): string {
  const right = `${counted(workers.length, "worker")} · ${at.toTimeString().slice(0, 8)}`;
  return bothEnds({ text: `gluellm · ${namespace}`, style: "bold" }, { text: right }, columns, paint);
}

function figures({ queues, perMinute, spentDayUsd }: FleetPicture): Piece[] {
  const sum = (of: (queue: QueuePicture) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  const { requests, tokens, ended, failed, rateLimited, spentUsd } = perMinute;
  return [
    { text: `${count(sum(({ counts }) => counts.waiting))} waiting`, style: "bold" },
    { text: `${count(sum(({ counts }) => counts.active))} active`, style: "bold" },
    { text: `${count(sum(({ counts }) => counts.delayed))} delayed` },
    { text: `${count(requests)} calls/min` },
    { text: `${count(tokens)} tokens/min` },
    { text: `${count(ended)} ended/min` },
    { text: `${count(failed)} failed/min`, style: failed > 0 ? "red" : "dim" },
    { text: `429s ${count(rateLimited)}/min`, style: rateLimited > 0 ? "yellow" : "dim" },
    { text: `${usd(spentUsd)}/min` },
    { text: `${usd(spentDayUsd)} in 24 h` },
  ];
}

function queues(all: readonly QueuePicture[], most: number, options: TopOptions): string[] {
  const { columns, paint, chosen } = options;
  if (all.length === 0) return [paint("no queues yet; they appear with their first job", "dim")];
  const first = Math.max(0, Math.min((chosen ?? 0) - Math.floor(most / 2), all.length - most));
  const shown = all.slice(first, first + most);
  const column = (
    heading: string,
    cellOf: (queue: QueuePicture, at: number) => Piece,
    isNumber = true,
  ): Column => ({
    heading,
    isNumber,
    cells: shown.map((queue, i) => cellOf(queue, first + i)),
  });
  const barWidth = columns >= 140 ? 24 : columns >= 90 ? 14 : 8;
  const isSeveral = shown.some(({ oldestMs }) => oldestMs > 0);
  const table = tableLines(
    [
      column(
        "QUEUE",
        ({ key }, at) => ({
          text: `${at === chosen ? "▸ " : chosen === undefined ? "" : "  "}${oneLine(key)}`,
          style: "cyan",
        }),
        false,
      ),
      column("WAIT", ({ counts }) => ({ text: count(counts.waiting) })),
      column("ACT", ({ counts }) => ({ text: count(counts.active) })),
      column("BUDGET", ({ budgetShare }) => budgetBar(budgetShare, barWidth), false),
      ...(isSeveral
        ? [column("OLDEST", ({ oldestMs }) => ({ text: oldestMs > 0 ? duration(oldestMs / 1000) : "" }))]
        : []),
      column("RPM", ({ used, limits }) => ({ text: ofLimit(used.requests, limits.rpm) })),
      column("TPM", ({ used, limits }) => ({ text: ofLimit(used.tokens, limits.tpm ?? limits.itpm) })),
      column("DELAYED", ({ counts }) => ({ text: count(counts.delayed) })),
      column("FAILED", ({ counts }) => ({
        text: count(counts.failed),
        style: counts.failed > 0 ? "red" : "dim",
      })),
      column("WORKERS", ({ workers }) => ({ text: count(workers) })),
    ],
    columns,
    paint,
  );
  const reasons = shown.flatMap(({ key, waitsFor }) => {
    const held = waitsFor.filter((reason) => reason !== PASSING);
    return held.length > 0 ? [`${oneLine(key)} waits for ${oneLine(held.join("; "))}`] : [];
  });
  const told = reasons.slice(0, 3).map((text) => paint(fitted(text, columns, { from: "end" }), "yellow"));
  return [...table, ...more(all.length - shown.length, "queue", options), ...told];
}

/** `████░░░░  52 %`: a bar that is read without colours too. */
function budgetBar(share: number | undefined, width: number): Piece {
  if (share === undefined) return { text: "no limit", style: "dim" };
  const full = Math.min(width, Math.round(share * width));
  const percent = `${Math.round(share * 100)} %`.padStart(5);
  return {
    text: `${"█".repeat(full)}${"░".repeat(width - full)} ${percent}`,
    style: share >= NEAR_LIMIT ? "yellow" : "green",
  };
}

function workers({ workers: all }: FleetPicture, most: number, options: TopOptions): string[] {
  const { columns, paint, rates } = options;
  if (all.length === 0) return [paint("no workers: jobs wait until one runs (gluellm worker)", "yellow")];
  const shown = all.slice(0, most);
  if (shown.length === 0) return [];
  type Worker = (typeof shown)[number];
  const column = (heading: string, cellOf: (worker: Worker) => Piece, isNumber = true): Column => ({
    heading,
    isNumber,
    cells: shown.map(cellOf),
  });
  const unknown = (value: unknown) => value === null || value === undefined;
  const table = [
    column("WORKER", ({ host, pid }) => ({ text: `${oneLine(host)}:${pid}`, style: "cyan" }), false),
    column("ACTIVE", ({ jobs }) => ({ text: jobs ? count(jobs.active) : "?" })),
    ...(rates.size > 0 ? [column("JOBS/S", ({ id }) => ({ text: (rates.get(id) ?? 0).toFixed(1) }))] : []),
    column("MEMORY", ({ rssBytes, isMemoryLow }) =>
      isMemoryLow
        ? { text: "low", style: "red" }
        : { text: unknown(rssBytes) ? "?" : bytesText(rssBytes ?? 0) },
    ),
    column("LAG", ({ lagMs }) => ({
      text: unknown(lagMs) ? "?" : `${count(lagMs ?? 0)} ms`,
      ...((lagMs ?? 0) > LAG_MS && { style: "yellow" as const }),
    })),
    column("ENDED", ({ jobs }) => ({ text: jobs ? count(jobs.ended) : "?" })),
    column("UP", ({ uptimeMs }) => ({
      text: uptimeMs === null ? "?" : duration(Math.floor(uptimeMs / 1000)),
    })),
    column("CLOCK", ({ clockAheadMs }) => {
      const ms = clockAheadMs ?? 0;
      return Math.abs(ms) > CLOCK_MS
        ? { text: `${(ms / 1000).toFixed(0)} s`, style: "yellow" }
        : { text: unknown(clockAheadMs) ? "?" : "ok" };
    }),
    column("VERSION", ({ version }) => ({ text: version ?? "?" })),
  ];
  return [...tableLines(table, columns, paint), ...more(all.length - shown.length, "worker", options)];
}

function errors({ errors: all, patterns }: FleetPicture, most: number, options: TopOptions): string[] {
  const { columns, paint } = options;
  const shown = all.slice(0, most);
  if (shown.length === 0) return [];
  const column = (heading: string, cells: Piece[], isNumber = true): Column => ({ heading, isNumber, cells });
  const table = [
    column(
      "ERRORS",
      shown.map(({ code = "" }) => ({ text: oneLine(code), style: "red" })),
      false,
    ),
    column(
      "FAILED",
      shown.map(({ failed }) => ({ text: count(failed) })),
    ),
    column(
      "CALLS",
      shown.map(({ failedCalls }) => ({ text: count(failedCalls) })),
    ),
    column(
      "MODEL",
      shown.map(({ model }) => ({ text: oneLine(model || "-") })),
      false,
    ),
  ];
  const told = patterns
    .slice(0, 2)
    .map((text) => paint(fitted(`! ${oneLine(text)}`, columns, { from: "end" }), "yellow"));
  return [...tableLines(table, columns, paint), ...told];
}

function more(hidden: number, name: string, { columns, paint }: TopOptions): string[] {
  if (hidden <= 0) return [];
  return [paint(fitted(`… ${counted(hidden, `more ${name}`)}`, columns), "dim")];
}
