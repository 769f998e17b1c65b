import { count, counted } from "../shared/counted.ts";
import { usd } from "../shared/usd.ts";
import type { RunStep } from "../workflows/run-status.ts";
import { printable } from "./output.ts";
import { fitted, padded, widthOf } from "./progress/text-layout.ts";

/** A step, with the steps of the run that it is. */
export interface StepNode extends RunStep {
  children: StepNode[];
  /** Why its job does not run, for people. */
  waitsFor: string[];
}

interface TreeOptions {
  /** What running steps' times are counted to, in epoch milliseconds. */
  now: number;
  /** Of a terminal, the most that a line takes; default: as many as it needs. */
  columns?: number;
  /** Most lines, the one about hidden lines and the sum included; default: all. */
  maxLines?: number;
}

interface Line {
  depth: number;
  isOpen: boolean;
  /** Glyph and name, subject, time, tokens, cost. */
  cells: string[];
  note: string;
}

const GLYPHS = { running: "•", succeeded: "✓", failed: "✗", cancelled: "–" } as const;
const IS_NUMBER = [false, false, true, true, true];
const [MIN_NAME_COLUMNS, MAX_NAME_COLUMNS] = [16, 50];
const GAP = "  ";

/** A run's steps as an indented tree, branches by their scope and child runs by their steps, and a sum line. */
export function stepTree(steps: readonly StepNode[], options: TreeOptions): string[] {
  const { now, columns = Number.POSITIVE_INFINITY, maxLines = Number.POSITIVE_INFINITY } = options;
  const lines = treeLines(steps, "", 0, now);
  const kept = lines.length < maxLines ? lines : fewer(lines, Math.max(1, maxLines - 2));
  const hidden = lines.length - kept.length;
  const widths = IS_NUMBER.map((_, column) =>
    Math.max(0, ...kept.map(({ cells }) => widthOf(cells[column] ?? ""))),
  );
  const [name = 0, ...figures] = widths;
  const room = columns - figures.reduce((sum, width) => sum + (width > 0 ? width + GAP.length : 0), 0);
  // Names give way to figures.
  widths[0] = Math.min(name, Math.max(MIN_NAME_COLUMNS, room));
  return [
    ...(hidden > 0 ? [`… ${counted(hidden, "more line")}`] : []),
    ...kept.map((line) => aligned(line, widths)),
    stepSum(steps, now),
  ].map((line) => fitted(line, columns, { from: "end" }));
}

/** One step by itself, with its whole path. */
export function stepLine(path: string, step: StepNode, now: number): string {
  const { cells, note } = stepCells(path, step, 0, now);
  return [...cells.filter((cell) => cell.trim() !== ""), note].join("  ").trimEnd();
}

/** Steps of a scope are drawn below its name: at its first step, so that nothing moves while steps are added. */
function treeLines(steps: readonly StepNode[], scope: string, depth: number, now: number): Line[] {
  const groups = Map.groupBy(steps, ({ step }) => {
    const rest = step.slice(scope.length);
    const end = rest.indexOf("/");
    return end < 0 ? step : step.slice(0, scope.length + end + 1);
  });
  return [...groups].flatMap(([path, group]) => {
    if (path.endsWith("/"))
      return [branchLine(path, scope, group, depth), ...treeLines(group, path, depth + 1, now)];
    return group.flatMap((step) => [
      stepCells(path.slice(scope.length), step, depth, now),
      ...treeLines(step.children, "", depth + 1, now),
    ]);
  });
}

function branchLine(path: string, scope: string, steps: readonly StepNode[], depth: number): Line {
  const states = steps.map(({ state }) => state);
  const state =
    (["running", "failed", "cancelled"] as const).find((one) => states.includes(one)) ?? "succeeded";
  const name = path.slice(scope.length, -1);
  return { depth, isOpen: state === "running", cells: [label(name, state, depth)], note: "" };
}

function stepCells(name: string, step: StepNode, depth: number, now: number): Line {
  const { state, kind, subject = "", startedAt, finishedAt } = step;
  const { tokens, costUsd } = useOf(step);
  const time = startedAt ? durationText((finishedAt?.getTime() ?? now) - startedAt.getTime()) : "";
  const isCall = kind === "completion" || kind === "child";
  const cells = [
    label(name, state, depth),
    isCall || kind === "activity" ? printable(subject) : "",
    time,
    isCall && tokens > 0 ? counted(tokens, "token") : "",
    isCall && tokens > 0 ? priceText(costUsd) : "",
  ];
  return { depth, isOpen: state === "running", cells, note: printable(noteOf(step)) };
}

function noteOf({ state, kind, subject, error, waitsFor }: StepNode): string {
  if (state === "failed") return error?.code ?? "failed";
  if (state !== "running") return state === "cancelled" ? "cancelled" : "";
  if (waitsFor.length > 0) return `waits for ${waitsFor.join("; ")}`;
  if (kind === "signal") return `waits for signal ${subject}`;
  return kind === "sleep" ? "sleeps" : "";
}

function label(name: string, state: RunStep["state"], depth: number): string {
  const short = fitted(printable(name), MAX_NAME_COLUMNS, { from: "end" });
  return `${"  ".repeat(depth)}${GLYPHS[state]} ${short}`;
}

function aligned({ cells, note }: Line, widths: readonly number[]): string {
  const shown = widths.map((width, column) =>
    padded(fitted(cells[column] ?? "", width, { from: "end" }), width, IS_NUMBER[column]),
  );
  return [...shown.filter((_, column) => (widths[column] ?? 0) > 0), note].join(GAP).trimEnd();
}

/** Finished lines give way first, from the top; what is at work is what one looks for. */
function fewer(lines: readonly Line[], maxLines: number): Line[] {
  let tooMany = lines.length - maxLines;
  const kept = lines.filter(({ isOpen }) => isOpen || tooMany-- <= 0);
  return kept.slice(-maxLines);
}

/** `4 steps: 3 done, 1 running · 1,234 tokens · $0.012 · 5.2 s`. */
export function stepSum(steps: readonly StepNode[], now: number): string {
  const all = steps.flatMap(withChildren);
  const states = Map.groupBy(all, ({ state }) => state);
  const counts = (["succeeded", "running", "failed", "cancelled"] as const).flatMap((state) => {
    const { length = 0 } = states.get(state) ?? [];
    return length > 0 ? `${count(length)} ${state === "succeeded" ? "done" : state}` : [];
  });
  const uses = steps.map(useOf);
  const tokens = uses.reduce((sum, use) => sum + use.tokens, 0);
  const spent = uses.reduce((sum, use) => sum + (use.costUsd ?? 0), 0);
  const isPriced = uses.every((use) => use.costUsd !== null);
  const cost = isPriced ? usd(spent) : `${usd(spent)} and calls without a known price`;
  const starts = steps.flatMap(({ startedAt }) => startedAt?.getTime() ?? []);
  const ends = steps.map(({ state, finishedAt }) =>
    state === "running" ? now : (finishedAt?.getTime() ?? 0),
  );
  const time = starts.length > 0 ? [durationText(Math.max(...ends) - Math.min(...starts))] : [];
  const found = `${counted(all.length, "step")}${counts.length > 0 ? `: ${counts.join(", ")}` : ""}`;
  return [found, counted(tokens, "token"), cost, ...time].join(" · ");
}

function withChildren(step: StepNode): StepNode[] {
  return [step, ...step.children.flatMap(withChildren)];
}

/** A child run's own figures come with its end; until then those of its steps count. A cost of null: not known. */
function useOf({ children, tokensUsed, costUsd }: StepNode): { tokens: number; costUsd: number | null } {
  if (children.length === 0) return { tokens: tokensUsed.total, costUsd: tokensUsed.total > 0 ? costUsd : 0 };
  const uses = children.map(useOf);
  return {
    tokens: uses.reduce((sum, use) => sum + use.tokens, 0),
    costUsd: uses.reduce<number | null>(
      (sum, use) => (sum === null || use.costUsd === null ? null : sum + use.costUsd),
      0,
    ),
  };
}

function priceText(costUsd: number | null): string {
  return costUsd === null ? "no price" : usd(costUsd);
}

/** `0.4 s`, `3 min 20 s`, `26 h 5 min`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
