import type { LimitInForce } from "../../shared/budget.ts";
import { count, counted } from "../../shared/counted.ts";
import { usd } from "../../shared/usd.ts";
import type { BatchPicture, ModelPicture, Phase, WorkerPicture } from "./batch-picture.ts";
import { costText, duration, etaText, ofLimit } from "./figures.ts";
import {
  bothEnds,
  type Column,
  firstThatFits,
  fitted,
  flowed,
  oneLine,
  type Paint,
  type Piece,
  padded,
  type Style,
  tableLines,
  widthOf,
  wrapped,
} from "./text-layout.ts";

export interface FrameOptions {
  /** No line is wider. */
  columns: number;
  /** Most lines. */
  rows: number;
  paint: Paint;
}

/** How many lines of each kind are shown: the first choice that fits the terminal's height. */
const CHOICES = [
  { models: 8, workers: 8, failures: 5, gap: 1 },
  { models: 8, workers: 8, failures: 5, gap: 0 },
  { models: 8, workers: 4, failures: 3, gap: 0 },
  { models: 4, workers: 2, failures: 2, gap: 0 },
  { models: 2, workers: 1, failures: 1, gap: 0 },
  { models: 1, workers: 0, failures: 0, gap: 0 },
] as const;
type Choice = Record<keyof (typeof CHOICES)[number], number>;

/** From this part of a limit on its use is marked. */
const NEAR_LIMIT = 0.95;

const PHASE_STYLES: Record<Phase, Style> = {
  "counting rows": "cyan",
  sending: "cyan",
  waiting: "yellow",
  ending: "yellow",
  "writing results": "cyan",
  done: "green",
  interrupted: "yellow",
};

/** Returns where a batch stands as lines for a terminal. */
export function frame(picture: BatchPicture, options: FrameOptions): string[] {
  return firstThatFits(CHOICES, options.rows, (choice) => lines(picture, choice, options));
}

function lines(picture: BatchPicture, choice: Choice, { columns, paint }: FrameOptions): string[] {
  const { waitsFor, notices, phase } = picture;
  const told: Piece[] = [
    ...waitsFor.map((text): Piece => ({ text: oneLine(text), style: "yellow" })),
    ...notices.map((text): Piece => ({ text: oneLine(text), style: phase === "ending" ? "yellow" : "dim" })),
  ];
  const sections = [
    [
      head(picture, columns, paint),
      bar(picture, columns, paint),
      ...flowed(figures(picture), columns, paint),
      ...told.flatMap((piece) => wrapped(piece, columns, paint)),
    ],
    models(picture.models, choice.models, columns, paint),
    picture.phase === "done" ? [] : workers(picture.workers, choice.workers, columns, paint),
    failures(picture, choice.failures, columns, paint),
  ].filter(({ length }) => length > 0);
  const gap = Array<string>(choice.gap).fill("");
  return sections.flatMap((section, i) => (i === 0 ? section : [...gap, ...section]));
}

function head({ input, output, phase, elapsedMs }: BatchPicture, columns: number, paint: Paint): string {
  const time = duration(elapsedMs / 1000);
  const right: Piece = { text: `${phase} · ${time}`, style: PHASE_STYLES[phase] };
  return bothEnds({ text: oneLine(`${input} → ${output}`), style: "bold" }, right, columns, paint);
}

/** The part of the succeeded rows, that of the failed ones, the rest, and the share of both. */
function bar(
  { total, succeeded, failed, missing, phase }: BatchPicture,
  columns: number,
  paint: Paint,
): string {
  const share = total === 0 ? 1 : (total - missing) / total;
  const label = ` ${String(Math.floor(share * 100)).padStart(3)} %`;
  const width = Math.max(1, columns - label.length);
  const full = Math.floor(share * width);
  const half = share * width - full >= 0.5 ? 1 : 0;
  const shareOfFailed = failed / Math.max(1, succeeded + failed);
  const red = Math.min(full, failed > 0 ? Math.max(1, Math.round(full * shareOfFailed)) : 0);
  const rest = "─".repeat(width - full - half);
  const parts: Piece[] = [
    { text: "━".repeat(full - red), style: phase === "waiting" ? "yellow" : "green" },
    { text: "━".repeat(red), style: "red" },
    { text: half ? "╸" : "", style: red > 0 ? "red" : phase === "waiting" ? "yellow" : "green" },
    { text: rest, style: "dim" },
    { text: label, style: "bold" },
  ];
  return parts.map(({ text, style }) => (text ? paint(text, style) : "")).join("");
}

function figures(picture: BatchPicture): Piece[] {
  const { total, missing, failed, isCounted, rowsPerSecond, phase, maxCostUsd, rateLimited, retries } =
    picture;
  const pieces: Piece[] = [
    { text: `${count(total - missing)} of ${count(total)} rows${isCounted ? "" : " so far"}`, style: "bold" },
    { text: `${count(failed)} failed`, style: failed > 0 ? "red" : "dim" },
  ];
  if (phase !== "done")
    pieces.push({ text: `${rowsPerSecond.toFixed(1)} rows/s` }, { text: etaText(picture), style: "bold" });
  const cost = costText(picture);
  if (cost) pieces.push({ text: cost });
  if (maxCostUsd !== undefined) pieces.push({ text: `limit ${usd(maxCostUsd)}` });
  pieces.push(
    { text: `429s ${count(rateLimited)}`, style: rateLimited > 0 ? "yellow" : "dim" },
    { text: `retries ${count(retries)}`, style: retries > 0 ? "yellow" : "dim" },
  );
  return pieces;
}

function models(all: readonly ModelPicture[], most: number, columns: number, paint: Paint): string[] {
  const shown = foremost(all, most, ({ active = 0, waiting = 0 }) => active + waiting > 0);
  if (shown.length === 0) return [];
  const column = (heading: string, textOf: (model: ModelPicture) => string | Piece): Column => ({
    heading,
    isNumber: heading !== "MODEL",
    cells: shown.map(textOf).map((cell) => (typeof cell === "string" ? { text: cell } : cell)),
  });
  const known = (value: number | undefined) => (value === undefined ? "…" : count(value));
  const hasFailed = shown.some(({ failed }) => failed > 0);
  const table = [
    column("MODEL", ({ key }) => ({ text: oneLine(key), style: "cyan" })),
    column("DONE", ({ done, total }) => `${count(done)}/${count(total)}`),
    column("RPM", ({ used, limits }) => (used ? share(used.requests, limits.rpm) : "…")),
    column("ACTIVE", ({ active }) => known(active)),
    column("WAITING", ({ waiting }) => known(waiting)),
    column("TPM", tokensText),
    ...(hasFailed
      ? [column("FAILED", ({ failed }) => ({ text: failed > 0 ? count(failed) : "", style: "red" }))]
      : []),
  ];
  return [...tableLines(table, columns, paint), ...more(all.length - shown.length, "model", columns, paint)];
}

/** Marked where it is what holds the batch up. */
function share(used: number, limit: LimitInForce | undefined): Piece {
  const isNear = limit !== undefined && used >= NEAR_LIMIT * limit.perMinute;
  return { text: ofLimit(used, limit), style: isNear ? "yellow" : undefined };
}

function tokensText({ used, limits }: ModelPicture): string | Piece {
  if (!used) return "…";
  if (limits.tpm || !limits.itpm) return share(used.tokens, limits.tpm);
  return `${ofLimit(used.tokens - used.outputTokens, limits.itpm)} in, ${ofLimit(used.outputTokens, limits.otpm)} out`;
}

function workers(all: readonly WorkerPicture[], most: number, columns: number, paint: Paint): string[] {
  const shown = foremost(all, most, ({ active }) => active > 0);
  if (shown.length === 0) return [];
  const table: Column[] = [
    {
      heading: "WORKER",
      cells: shown.map(({ pid, host }) => ({
        text: pid === process.pid ? "this process" : `${oneLine(host)}:${pid}`,
        style: "cyan",
      })),
    },
    { heading: "ACTIVE", isNumber: true, cells: shown.map(({ active }) => ({ text: count(active) })) },
    { heading: "ENDED", isNumber: true, cells: shown.map(({ ended }) => ({ text: count(ended) })) },
    {
      heading: "JOBS/S",
      isNumber: true,
      cells: shown.map(({ jobsPerSecond }) => ({ text: jobsPerSecond.toFixed(1) })),
    },
  ];
  if (shown.some(({ isMemoryLow }) => isMemoryLow)) {
    const cells = shown.map(({ isMemoryLow }) => ({ text: isMemoryLow ? "memory is low" : "" }));
    table.push({ heading: "", cells: cells.map((cell) => ({ ...cell, style: "yellow" as const })) });
  }
  return [...tableLines(table, columns, paint), ...more(all.length - shown.length, "worker", columns, paint)];
}

/** How many rows failed of what, and the last of them. */
function failures(
  { failed, failures, failureCounts }: BatchPicture,
  most: number,
  columns: number,
  paint: Paint,
): string[] {
  if (failed === 0 || failureCounts.length === 0) return [];
  const kinds = failureCounts.slice(0, 3).map(([code, rows]) => `${oneLine(code)} ${count(rows)}`);
  const others = failureCounts.length - kinds.length;
  const title = `FAILED  ${kinds.join(" · ")}${others > 0 ? ` · ${counted(others, "more kind")}` : ""}`;
  const last = most === 0 ? [] : failures.slice(-most);
  const width = Math.min(
    Math.max(0, ...last.map(({ customId }) => widthOf(oneLine(customId)))),
    Math.max(8, Math.floor(columns / 4)),
  );
  return [
    paint(fitted(title, columns, { from: "end" }), "red"),
    ...last.map(({ customId, code, message }) => {
      const name = paint(padded(fitted(oneLine(customId), width), width), "dim");
      const reason = `${oneLine(code)}: ${oneLine(message)}`;
      return `${name}  ${fitted(reason, columns - width - 2, { from: "end" })}`;
    }),
  ];
}

/** Those at work first where not all can be shown, in the order in which they came. */
function foremost<T>(all: readonly T[], most: number, isAtWork: (one: T) => boolean): readonly T[] {
  if (all.length <= most) return all;
  return [...all.filter(isAtWork), ...all.filter((one) => !isAtWork(one))].slice(0, most);
}

function more(hidden: number, name: string, columns: number, paint: Paint): string[] {
  if (hidden <= 0) return [];
  return [paint(fitted(`… ${counted(hidden, `more ${name}`)}`, columns), "dim")];
}
